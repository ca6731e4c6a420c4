// Inside the network: the attention from a clicked point, the spikes and the energy of one clip.
import {complain, post} from './ask.js';
import {colourBar, energy, energyBars, heatMap, inferno, make, percent, titleOf, viridis} from './charts.js';

const $ = (id) => document.getElementById(id);
const COMPARED = {
  clip: 'every place of the clip',
  frame: 'the places of its frame',
  location: 'the same place over time',
  past: 'the places of the frames so far',
  block: 'the places of the frames around',
};
let run;
let times = []; // seconds at which the clips end
let clip; // what the server says of one of them
let pictures = []; // its frames
let map = null; // the attention
let step = 0;
let timer = 0;
let query = [0, 0.5, 0.5]; // time, row and column, from 0 to 1
let wanted = null;
let asking = false;

export const lookInside = async (id, ends) => {
  [run, times] = [id, ends];
  $('clip').max = Math.max(0, times.length - 1);
  $('clip').value = Math.floor(times.length / 2);
  await open();
};

const decoded = async (src) => {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
};

const open = async () => {
  stopPlaying();
  const number = +$('clip').value;
  const when = times[0] < times.at(-1) ? `, ends at ${times[number].toFixed(2)} s` : '';
  $('clip-is').textContent = 'running the network …';
  clip = await post(`runs/${run}/clips/${number}`);
  $('clip-is').textContent = `${number + 1} of ${times.length}${when}`;
  pictures = await Promise.all(clip.frames.map(decoded));
  [map, step] = [null, Math.floor(pictures.length / 2)];
  listLayers();
  $('step').max = pictures.length - 1;
  $('strip').replaceChildren(...pictures.map((_, t) => {
    const canvas = make('canvas', {title: `time step ${t + 1}`});
    canvas.onclick = (event) => {
      go(t);
      point(event, canvas);
    };
    return canvas;
  }));
  const names = Object.keys(clip.energy.meanings);
  $('convention').replaceChildren(...names.map((name) => make('option', {value: name, textContent: name})));
  drawSpikes();
  drawEnergy();
  draw();
  if (clip.attentions.length) await attend([(step + 0.5) / pictures.length, 0.5, 0.5]);
};

const listLayers = () => {
  const former = $('layer').value;
  const names = clip.attentions.map(({name}) => name);
  const short = (name) => titleOf(name)
    .replace(/, attn\.units\.0\.read$|, read$/, '')
    .replace(/attn\.units\.(\d+)\.read/, (_, i) => `read ${+i + 1}`);
  $('layer').replaceChildren(...names.map((value) => make('option', {value, textContent: short(value)})));
  if (names.includes(former)) $('layer').value = former;
  else $('layer').selectedIndex = Math.max(0, names.findIndex((name) => name.startsWith('memory')));
  $('attention').hidden = !names.length;
  listHeads();
};

const layer = () => clip.attentions.find(({name}) => name === $('layer').value);

const listHeads = () => {
  if (!layer()) return;
  const numbers = Array.from({length: layer().heads}, (_, i) => make('option', {value: i, textContent: i + 1}));
  $('head').replaceChildren(make('option', {value: '', textContent: 'mean of all'}), ...numbers);
  $('unit').textContent = layer().score === 'hamming' ? 'Hamming similarity' : 'share of channels that both spike';
};

// The newest question waits while one is asked: answers come in the order of the clicks.
const attend = async (where) => {
  wanted = where;
  if (asking) return;
  asking = true;
  try {
    while (wanted) {
      [query, wanted] = [wanted, null];
      $('query').textContent = 'Comparing …';
      const head = $('head').value === '' ? null : +$('head').value;
      map = await post(`runs/${run}/clips/${$('clip').value}/attention`, {layer: $('layer').value, query, head});
      const values = map.scores.flat(2).filter((score) => score !== null);
      map.least = values.reduce((a, b) => Math.min(a, b));
      map.most = values.reduce((a, b) => Math.max(a, b));
      $('least').textContent = map.least.toFixed(3);
      $('most').textContent = map.most.toFixed(3);
      complain();
      draw();
    }
  } catch (error) {
    complain(error);
  } finally {
    asking = false;
  }
};

const paint = (canvas, t, side) => {
  const picture = pictures[t];
  const pen = canvas.getContext('2d');
  const scale = Math.max(1, Math.ceil(side / picture.width));
  Object.assign(canvas, {width: picture.width * scale, height: picture.height * scale});
  pen.imageSmoothingEnabled = picture.width > 128; // pixels of a tiny frame are to be seen as such
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (map && $('overlay').checked) paintMap(pen, canvas, t);
};

const paintMap = (pen, canvas, t) => {
  const rows = map.scores[t];
  const [h, w] = [canvas.height / rows.length, canvas.width / rows[0].length];
  rows.forEach((row, y) => row.forEach((score, x) => {
    const share = (score - map.least) / Math.max(1e-6, map.most - map.least);
    pen.fillStyle = score === null ? 'rgba(18, 20, 24, .6)' : `rgba(${viridis(share)}, .5)`;
    const [left, top] = [Math.round(x * w), Math.round(y * h)];
    pen.fillRect(left, top, Math.round((x + 1) * w) - left, Math.round((y + 1) * h) - top);
  }));
  const [time, row, column] = map.query;
  if (time !== t) return;
  for (const [strokeStyle, lineWidth] of [['#000', 6], ['#fff', 3]]) {
    Object.assign(pen, {strokeStyle, lineWidth});
    pen.strokeRect(column * w + 3, row * h + 3, w - 6, h - 6);
  }
};

const draw = () => {
  if (!pictures.length) return;
  paint($('frame'), step, 440);
  [...$('strip').children].forEach((canvas, t) => {
    paint(canvas, t, 104);
    canvas.classList.toggle('now', t === step);
  });
  document.querySelectorAll('#heat b').forEach((cell) => cell.classList.toggle('now', cell.dataset.step === `${step}`));
  $('step').value = step;
  $('step-is').textContent = `${step + 1} of ${pictures.length}`;
  if (!map) return;
  const [time, row, column] = map.query;
  const size = `${map.scores[0].length} x ${map.scores[0][0].length}`;
  const memory = layer().name.startsWith('memory');
  const compared = memory ? 'every place of the earlier frames: what the memory reads' : COMPARED[layer().tokens];
  $('query').textContent = `Row ${row + 1}, column ${column + 1} of ${size} places in time step ${time + 1}, `
    + `compared with ${compared}.`;
};

const go = (t) => {
  step = Math.min(Math.max(t, 0), pictures.length - 1);
  draw();
};

const point = (event, canvas) => {
  const box = canvas.getBoundingClientRect();
  const share = (at, size) => Math.min(1, Math.max(0, at / size));
  const [row, column] = [share(event.clientY - box.top, box.height), share(event.clientX - box.left, box.width)];
  attend([(step + 0.5) / pictures.length, row, column]);
};

export const stopPlaying = () => {
  clearInterval(timer);
  timer = 0;
  $('play').textContent = 'Play';
  $('play').setAttribute('aria-pressed', false);
};

// Of a stage the mean over its neurons; those that fire once a clip count where there are no others.
const meanRates = (neurons, steps) => {
  const length = neurons.some(({rates}) => rates.length === steps) ? steps : neurons[0].rates.length;
  const alike = neurons.filter(({rates}) => rates.length === length);
  const all = alike.reduce((sum, {count}) => sum + count, 0);
  return Array.from({length}, (_, t) => alike.reduce((sum, {rates, count}) => sum + rates[t] * count, 0) / all);
};

const drawSpikes = () => {
  const every = $('all-neurons').checked;
  const {neurons} = clip;
  $('spikes').hidden = !neurons.length;
  if (!neurons.length) return;
  const stages = [...new Set(neurons.map(({stage}) => stage))];
  const rows = every
    ? neurons.map(({name, rates}) => ({name: titleOf(name), rates}))
    : stages.map((stage) => ({
      name: titleOf(stage),
      rates: meanRates(neurons.filter((neuron) => neuron.stage === stage), pictures.length),
    }));
  $('heat').classList.toggle('every', every);
  $('highest').textContent = percent(heatMap($('heat'), rows, pictures.length));
  const chances = neurons.reduce((sum, {count, rates}) => sum + count * rates.length, 0);
  const fired = neurons.reduce((sum, {count, rates}) => sum + count * rates.reduce((a, b) => a + b, 0), 0);
  $('spikes-note').textContent = `In this clip ${percent(fired / chances)} of ${chances.toLocaleString('en')} possible `
    + 'spikes are fired. A neuron that fires whole numbers counts as a share of its largest.';
};

const drawEnergy = () => {
  const {layers, totals, meanings, e_mac: mac, e_ac: ac, parameters} = clip.energy;
  const name = $('convention').value;
  const every = $('all-layers').checked;
  const stages = new Map();
  for (const each of layers) {
    const sum = stages.get(each.stage) ?? {name: titleOf(each.stage), spiking: 0, dense: 0};
    const [spiking, dense] = [sum.spiking + (each[name] ?? 0), sum.dense + each.dense];
    stages.set(each.stage, {...sum, spiking, dense});
  }
  const single = layers.map((each) => ({name: titleOf(each.name), spiking: each[name], dense: each.dense}));
  $('bars').classList.toggle('every', every);
  energyBars($('bars'), every ? single : [...stages.values()]);
  const share = percent(totals[name] / totals.dense);
  $('energy-total').textContent = `${energy(totals[name])}, ${share} of the dense network's ${energy(totals.dense)}`;
  $('energy-note').textContent = `Counted operations times ${mac} pJ a multiply-accumulate and ${ac} pJ an accumulate `
    + `(45 nm), not measured. ${name}: ${meanings[name]}. `
    + `The network has ${parameters.toLocaleString('en')} parameters.`;
};

const ARROWS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
colourBar($('similarity'), viridis);
colourBar($('rates'), inferno);
$('frame').onclick = (event) => point(event, $('frame'));
$('frame').onkeydown = (event) => {
  const move = ARROWS[event.key];
  if (!move || !map) return;
  event.preventDefault();
  const size = [map.scores[0].length, map.scores[0][0].length];
  const moved = size.map((n, i) => (Math.min(n - 1, Math.max(0, map.query[i + 1] + move[i])) + 0.5) / n);
  attend([(step + 0.5) / pictures.length, ...moved]);
};
$('step').oninput = () => go(+$('step').value);
$('clip').onchange = () => open().catch(complain);
$('layer').onchange = () => {
  listHeads();
  attend(query);
};
$('head').onchange = () => attend(query);
$('overlay').onchange = draw;
$('all-neurons').onchange = () => {
  drawSpikes();
  draw();
};
$('all-layers').onchange = drawEnergy;
$('convention').onchange = drawEnergy;
$('play').onclick = () => {
  if (timer) return stopPlaying();
  timer = setInterval(() => go((step + 1) % pictures.length), 250);
  $('play').textContent = 'Pause';
  return $('play').setAttribute('aria-pressed', true);
};
