// The page's flow: a model and a video are chosen, the prediction is waited for and shown.
import {ask, complain, post} from './ask.js';
import {drawBody, make, scoreBars} from './charts.js';
import {lookInside, stopPlaying} from './inside.js';

const WORDS = {mp4: 'video', jsonl: 'a JSON line a frame', npz: 'arrays', png: 'sheet of frames'};
const $ = (id) => document.getElementById(id);
let state;
let model;
let run = null;
let records = []; // of a pose
let turn = 0.6; // radians, of the body

const show = (id) => ['welcome', 'running', 'result'].forEach((other) => { $(other).hidden = other !== id; });

const busy = (yes) => {
  document.body.classList.toggle('busy', yes);
  document.querySelectorAll('aside button, #file').forEach((element) => { element.disabled = yes; });
};

const choose = (name) => {
  model = state.models.find((each) => each.name === name);
  for (const button of $('models').children) button.setAttribute('aria-checked', button.dataset.name === name);
  for (const button of $('samples').children) button.hidden = model.data !== null && button.dataset.data !== model.data;
};

const modelButton = ({name, title, note}) => {
  const button = make('button', {type: 'button'}, title, make('small', {textContent: note}));
  button.setAttribute('role', 'radio');
  button.dataset.name = name;
  button.onclick = () => choose(name);
  return button;
};

const sampleButton = ({name, title, data}) => {
  const image = make('img', {src: `samples/${name}`, alt: title});
  const button = make('button', {type: 'button', title}, image);
  Object.assign(button.dataset, {name, data});
  button.onclick = () => predict(`sample=${encodeURIComponent(name)}`);
  return button;
};

const begin = async () => {
  state = await ask('state');
  $('versions').textContent = state.versions;
  const size = `${state.max_upload / 1e6} MB`;
  $('limits').textContent = `or drop it here: up to ${size}, of which the first ${state.max_seconds} s are looked at`;
  $('models').replaceChildren(...state.models.map(modelButton));
  $('samples').replaceChildren(...state.samples.map(sampleButton));
  choose(state.models[0].name);
};

// what is no longer shown is removed on the server, also when the page is left
const forget = () => {
  if (run) fetch(`runs/${run}`, {method: 'DELETE', keepalive: true}).catch(() => {});
  run = null;
};

const upload = (file) => {
  if (!file || document.body.classList.contains('busy')) return;
  const [size, most] = [file.size, state.max_upload].map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
  if (file.size > state.max_upload) complain(`${file.name} has ${size}; up to ${most} are taken (--max-upload).`);
  else predict(`name=${encodeURIComponent(file.name)}`, file);
};

const wait = async (said) => {
  while (said.state === 'running') {
    const {done, expected} = said;
    if (done) $('doing').textContent = `${said.name}: ${done}${expected ? ` of ${expected}` : ''} frames`;
    if (done && expected) Object.assign($('progress'), {max: expected, value: Math.min(done, expected)});
    await new Promise((next) => setTimeout(next, 200));
    said = await ask(`runs/${run}`);
  }
  if (said.state === 'failed') throw new Error(said.message);
  return said;
};

const predict = async (query, body = '') => {
  busy(true);
  complain();
  stopPlaying();
  forget();
  for (const button of $('samples').children) {
    button.setAttribute('aria-pressed', query === `sample=${encodeURIComponent(button.dataset.name)}`);
  }
  $('doing').textContent = body ? 'Sending the video …' : `Loading the model ${model.title} …`;
  $('progress').removeAttribute('value');
  show('running');
  try {
    const sent = {method: 'POST', headers: {'Content-Type': 'application/octet-stream'}, body};
    let said = await ask(`runs?model=${encodeURIComponent(model.name)}&${query}`, sent);
    run = said.id;
    said = await wait(said);
    if (said.state === 'done') await present(said); // also of what there was when it was stopped
    else show('welcome');
  } catch (error) {
    show('welcome');
    complain(error);
  } finally {
    busy(false);
  }
};

const present = async (said) => {
  const file = (name) => `runs/${run}/files/${name}`;
  const {mean, errors, notes} = said;
  const known = model.data === null || state.samples.some(({title}) => title === said.name);
  if (!known) notes.push(`the model knows ${model.data} alone: what it says of other videos means little`);
  records = said.pose ? await ask(`runs/${run}/records`) : [];
  show('result');
  $('source').textContent = `${model.title}: ${said.name}`;
  $('seen').classList.toggle('wide', said.pose);
  $('body').hidden = !said.pose;
  $('video').src = file('prediction.mp4');
  $('video').dataset.fps = said.fps;
  $('scores-are').textContent = mean.length ? 'Mean over the video' : '';
  scoreBars($('scores'), mean);
  const wrong = Object.entries(errors).map(([name, mm]) => `${name} ${mm} mm`);
  $('whole').textContent = wrong.length ? `Error against the true joints: ${wrong.join(', ')}.` : '';
  $('problem').textContent = notes.length ? `Note: ${notes.join('; ')}.` : '';
  $('files').replaceChildren(...said.files.map((name) =>
    make('a', {href: file(name), download: name, textContent: WORDS[name.split('.').pop()]})));
  await lookInside(run, said.clips);
};

// the body of the time step that the video shows
const follow = () => {
  requestAnimationFrame(follow);
  const step = Math.floor($('video').currentTime * $('video').dataset.fps + 0.01);
  const record = records[Math.min(records.length - 1, step)];
  if (!record || $('result').hidden) return;
  const [x, y, z] = record.translation.map((value) => value.toFixed(2));
  $('scores-are').textContent = `At ${record.time.toFixed(2)} s: x ${x} m, y ${y} m, ${z} m away`;
  drawBody($('body'), record.joints_3d, state.bones, turn);
};
follow();

addEventListener('pagehide', forget);
$('body').onpointermove = (event) => { if (event.buttons) turn += event.movementX / 60; };
$('stop').onclick = () => {
  $('doing').textContent = 'Stopping …';
  if (run) post(`runs/${run}/stop`).catch(complain);
};
$('file').onchange = () => {
  upload($('file').files[0]);
  $('file').value = '';
};
for (const kind of ['dragover', 'dragleave', 'drop']) {
  addEventListener(kind, (event) => {
    event.preventDefault(); // a file that misses the field does not replace the page
    $('drop').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop') upload(event.dataTransfer.files[0]);
  });
}

begin().catch(complain);
