// What is drawn: colour maps, bars, heat maps, a body in space. Texts are set as texts, never as HTML.

export const make = (tag, options = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
};

const text = (textContent) => make('span', {textContent});

// a few colours of matplotlib's viridis and inferno, between which colours are mixed
const VIRIDIS = ['440154', '472d7b', '3b528b', '2c728e', '21918c', '28ae80', '5ec962', 'addc30', 'fde725'];
const INFERNO = ['1b1e24', '320a5e', '781c6d', 'bc3754', 'ed6925', 'fbb41a', 'fcffa4'];
const mixed = (stops) => (share) => {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const channel = (stop, k) => parseInt(stop.slice(2 * k, 2 * k + 2), 16);
  const between = (k) => channel(stops[i], k) + (at - i) * (channel(stops[i + 1], k) - channel(stops[i], k));
  return [0, 1, 2].map((k) => Math.round(between(k)));
};
export const viridis = mixed(VIRIDIS);
export const inferno = mixed(INFERNO);

export const colourBar = (canvas, colours) => {
  const pen = canvas.getContext('2d');
  for (let x = 0; x < canvas.width; x++) {
    pen.fillStyle = `rgb(${colours(x / (canvas.width - 1))})`;
    pen.fillRect(x, 0, 1, 1);
  }
};

export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

export const energy = (mj) => {
  const [factor, unit] = mj >= 1 ? [1, 'mJ'] : mj >= 1e-3 ? [1e3, 'µJ'] : [1e6, 'nJ'];
  return `${Number((mj * factor).toPrecision(3))} ${unit}`;
};

// 'backbone.stages.3.blocks.0.attn' -> 'stage 4, block 1, attn'
export const titleOf = (name) => name
  .replace(/^backbone\./, '')
  .replace(/^stages\.(\d+)\.?/, (_, i) => `stage ${+i + 1}, `)
  .replace(/blocks\.(\d+)\.?/, (_, i) => `block ${+i + 1}, `)
  .replace(/^memory\.reads\.(\d+)\.?/, (_, i) => `memory, scale ${+i + 1}, `)
  .replace(/, $/, '');

export const scoreBars = (target, pairs) => target.replaceChildren(...pairs.map(([name, value]) => {
  const bar = make('div', {className: 'bar'}, text(name), text(percent(value)), make('i'));
  bar.lastChild.style.width = `${100 * Math.min(1, value)}%`;
  return bar;
}));

const row = (name, content) => make('div', {className: 'row'}, text(name), content);

const heatCell = (name, rate, t, highest, steps) => {
  const colour = inferno(rate / highest);
  const said = percent(rate);
  const cell = make('b', {textContent: steps > 16 ? '' : said, title: `${name}, time step ${t + 1}: ${said}`});
  cell.style.background = `rgb(${colour})`;
  cell.style.color = colour[0] + 2 * colour[1] > 380 ? '#000' : '#fff';
  return cell;
};

// Rows of {name, rates}; a row of fewer steps stands in the first of them, one of a single step covers all.
export const heatMap = (target, rows, steps) => {
  const highest = Math.max(1e-9, ...rows.flatMap(({rates}) => rates));
  const grid = (className, cells) => {
    const element = make('div', {className}, ...cells);
    element.style.gridTemplateColumns = `repeat(${steps}, minmax(0, 1fr))`;
    return element;
  };
  const head = grid('cells head', Array.from({length: steps}, (_, t) => make('b', {textContent: t + 1})));
  target.replaceChildren(row('time step', head), ...rows.map(({name, rates}) => {
    const cells = rates.map((rate, t) => heatCell(name, rate, t, highest, steps));
    if (cells.length === 1) cells[0].style.gridColumn = '1 / -1';
    else cells.forEach((cell, t) => { cell.dataset.step = t; });
    return row(name, grid('cells', cells));
  }));
  return highest;
};

// Rows of {name, spiking, dense} in millijoules.
export const energyBars = (target, rows) => {
  const largest = Math.max(1e-12, ...rows.map(({dense}) => dense));
  const pair = (kind, value) => {
    const said = value === null ? 'merged into another layer' : energy(value);
    const element = make('div', {className: `pair ${kind}`}, make('i'), text(said));
    element.style.setProperty('--share', `${(82 * (value ?? 0)) / largest}%`);
    return element;
  };
  target.replaceChildren(...rows.map(({name, spiking, dense}) =>
    row(name, make('div', {}, pair('spiking', spiking), pair('dense', dense)))));
};

// Joints (24, 3) in metres about the pelvis, turned about the vertical axis; bones: [parent, joint, colour].
export const drawBody = (canvas, joints, bones, angle) => {
  const pen = canvas.getContext('2d');
  const scale = canvas.height / 2.2;
  const [px, py, pz] = joints[0];
  const at = ([x, y, z]) => [
    canvas.width / 2 + scale * ((x - px) * Math.cos(angle) + (z - pz) * Math.sin(angle)),
    canvas.height / 2 + scale * (y - py),
  ];
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineCap = 'round';
  pen.lineWidth = 5;
  for (const [parent, joint, colour] of bones) {
    pen.beginPath();
    pen.moveTo(...at(joints[parent]));
    pen.lineTo(...at(joints[joint]));
    pen.strokeStyle = `rgb(${colour})`;
    pen.stroke();
  }
};
