// OptimizerPlayground: optimizers walk down a loss, together on one map (chapter 08).
import {
  DASHES, PALETTE, chart, cross, dot, escape, figure, grouped, isNumber, line, once, oneOf, outside, path, quoted,
  short, widget, words,
} from "./shared.js";

export const defaults = {
  surface: "ravine",
  optimizers: ["SGD", "Momentum", "Adam"],
  rates: { SGD: 0.019, Momentum: 0.01, RMSProp: 0.1, Adam: 0.4, AdamW: 0.4 },
  selected: "SGD", // the optimizer whose settings the sliders show
  momentum: 0.9,
  alpha: 0.99,
  beta1: 0.9,
  beta2: 0.999,
  decay: 0,
  noise: 0, // standard deviation of what is added to each part of the gradient
  start: [10, 1],
  shown: 60, // steps drawn so far, of `total`
  total: 200,
  plane: null, // the recording loss_plane.json
};

// --- surfaces: the loss at (x, y), its gradient by hand, and the part of it that the map shows -----------------------

const SURFACES = {
  bowl: {
    text: "Round bowl: ((x − 2)² + (y − 1)²) / 2.",
    loss: (x, y) => ((x - 2) ** 2 + (y - 1) ** 2) / 2,
    gradient: (x, y) => [x - 2, y - 1],
    x: [-5, 6], y: [-4, 5], minima: [[2, 1]], start: [-4, 4],
    levels: [0.1, 0.5, 1, 2, 4, 6, 9, 12, 16, 20, 25, 30, 36],
    rates: { SGD: 0.05, Momentum: 0.02, RMSProp: 0.05, Adam: 0.2, AdamW: 0.2 },
  },
  ravine: {
    text: "Ravine of chapter 08: (x² + 100 y²) / 2, a hundred times as steep in y as in x.",
    loss: (x, y) => (x * x + 100 * y * y) / 2,
    gradient: (x, y) => [x, 100 * y],
    x: [-3, 12], y: [-1.4, 1.4], minima: [[0, 0]], start: [10, 1],
    levels: [0.3, 1, 3, 6, 10, 16, 24, 34, 46, 60, 75, 95, 120],
    rates: defaults.rates,
  },
  "tilted ravine": {
    text: "The same ravine turned by 45°. SGD and Momentum take the same steps as there, turned. RMSProp, Adam and " +
      "AdamW, which size the steps of x and of y apart, do not.",
    loss: (x, y) => ((x + y) ** 2 + 100 * (y - x) ** 2) / 4,
    gradient: (x, y) => [(x + y - 100 * (y - x)) / 2, (x + y + 100 * (y - x)) / 2],
    x: [-3.4, 9.1], y: [-2.2, 8.3], minima: [[0, 0]], start: [6.364, 7.778], // (10, 1) turned
    levels: [0.3, 1, 3, 10, 30, 70, 150, 300, 500, 800, 1200, 1800, 2500],
    rates: defaults.rates,
  },
  saddle: {
    text: "Saddle: (x² − 1)² / 4 + y² / 2. At (0, 0) it is level, and it falls from there to (−1, 0) and to (1, 0).",
    loss: (x, y) => (x * x - 1) ** 2 / 4 + (y * y) / 2,
    gradient: (x, y) => [x * (x * x - 1), y],
    x: [-1.8, 1.8], y: [-1.5, 1.5], minima: [[-1, 0], [1, 0]], start: [0.001, 1.3],
    levels: [0.01, 0.03, 0.07, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 0.95, 1.25, 1.6],
    rates: { SGD: 0.1, Momentum: 0.02, RMSProp: 0.01, Adam: 0.03, AdamW: 0.03 },
  },
  Rosenbrock: {
    text: "Rosenbrock’s function: (1 − x)² + 100 (y − x²)², a bent valley with an almost level floor.",
    loss: (x, y) => (1 - x) ** 2 + 100 * (y - x * x) ** 2,
    gradient: (x, y) => [2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)],
    x: [-2, 2], y: [-0.8, 2.5], minima: [[1, 1]], start: [-1.2, 1],
    levels: [2, 5, 12, 30, 70, 150, 300, 550, 900, 1400, 2000],
    rates: { SGD: 0.002, Momentum: 0.001, RMSProp: 0.05, Adam: 0.2, AdamW: 0.2 },
  },
};

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

// A recorded grid of losses as a surface: Catmull-Rom splines between its points. Beyond the grid the loss is that of
// the nearest edge and a quadratic wall on top.
const WALL = 0.1;

const planeSurface = once((plane) => {
  const { x, y, losses, marks } = plane;
  const columns = axis(x, losses[0].length);
  const rows = axis(y, losses.length);
  const sum = (a, b) => b.near.reduce((total, j, n) =>
    total + b.weights[n] * a.near.reduce((part, i, m) => part + a.weights[m] * losses[j][i], 0), 0);
  const least = Math.min(...losses.flat());
  const span = Math.max(...losses.flat()) - least;
  return {
    loss(px, py) {
      const [a, b] = [columns(px), rows(py)];
      return sum(a.value, b.value) + (WALL / 2) * (a.beyond ** 2 + b.beyond ** 2);
    },
    gradient(px, py) {
      const [a, b] = [columns(px), rows(py)];
      return [sum(a.slope, b.value) + WALL * a.beyond, sum(a.value, b.slope) + WALL * b.beyond];
    },
    text: storyOf(plane),
    x, y, minima: [], start: [0, 0],
    marks: [{ name: "start", at: [0, 0] }, ...marks.map(({ name, at }) => ({ name: `${name}’s end`, at }))],
    levels: Array.from({ length: 14 }, (_, i) => Number((least + span * ((i + 0.4) / 14) ** 1.5).toPrecision(2))),
    rates: { SGD: 4, Momentum: 1, RMSProp: 0.08, Adam: 0.3, AdamW: 0.3 },
  };
});

function storyOf({ model, measured, weights, steps, marks }) {
  const all = grouped(weights);
  return `${model[0].toUpperCase()}${model.slice(1)}, ${all} weights: the ${measured}, in a plane through three ` +
    `settings of the weights. At (0, 0) training starts; the other two are where ${steps} steps of ` +
    `${marks.map(({ name }) => name).join(" and of ")} ended. Here an optimizer moves in 2 of ${all} directions: ` +
    "a picture of the model’s loss, not of its training.";
}

// For a coordinate: the four grid points around it, their weights in the value and in the slope, and how far it is out.
function axis([from, to], count) {
  const step = (to - from) / (count - 1);
  return (coordinate) => {
    const inside = clamp(coordinate, from, to);
    const first = clamp(Math.floor((inside - from) / step), 0, count - 2);
    const t = (inside - from) / step - first;
    const near = [-1, 0, 1, 2].map((offset) => clamp(first + offset, 0, count - 1));
    const value = [-t + 2 * t ** 2 - t ** 3, 2 - 5 * t ** 2 + 3 * t ** 3, t + 4 * t ** 2 - 3 * t ** 3, t ** 3 - t ** 2];
    const slope = [-1 + 4 * t - 3 * t ** 2, 9 * t ** 2 - 10 * t, 1 + 8 * t - 9 * t ** 2, 3 * t ** 2 - 2 * t];
    const beyond = coordinate - inside;
    return {
      beyond,
      value: { near, weights: value.map((weight) => weight / 2) },
      slope: { near, weights: slope.map((weight) => (beyond ? 0 : weight / 2 / step)) },
    };
  };
}

export function surfaceOf({ surface, plane }) {
  return surface === "plane" ? plane && planeSurface(plane) : SURFACES[surface];
}

// Where a surface is best entered, and a rate for each optimizer that shows its way of walking.
export function suggested(state) {
  const { start, rates } = surfaceOf(state) ?? defaults;
  return { start, rates };
}

// --- optimizers: course_lib.optim for one weight w with gradient g ---------------------------------------------------

const EPS = 1e-8;

const UPDATES = {
  SGD: (w, g, memory, { rate, decay }) => w - rate * (g + decay * w),
  Momentum(w, g, memory, { rate, decay, momentum }) {
    memory.velocity = momentum * (memory.velocity ?? 0) + g + decay * w;
    return w - rate * memory.velocity;
  },
  RMSProp(w, g, memory, { rate, decay, alpha }) {
    const gradient = g + decay * w;
    memory.square = alpha * (memory.square ?? 0) + (1 - alpha) * gradient ** 2;
    return w - (rate * gradient) / (Math.sqrt(memory.square) + EPS);
  },
  Adam: (w, g, memory, settings) => adam(w, g + settings.decay * w, memory, settings),
  AdamW: (w, g, memory, settings) => adam(w * (1 - settings.rate * settings.decay), g, memory, settings),
};
export const NAMES = Object.keys(UPDATES);

function adam(w, g, memory, { rate, beta1, beta2 }) {
  memory.step = (memory.step ?? 0) + 1;
  memory.mean = beta1 * (memory.mean ?? 0) + (1 - beta1) * g;
  memory.square = beta2 * (memory.square ?? 0) + (1 - beta2) * g ** 2;
  const mean = memory.mean / (1 - beta1 ** memory.step);
  const size = Math.sqrt(memory.square / (1 - beta2 ** memory.step));
  return w - (rate * mean) / (size + EPS);
}

// Normal random numbers, the same ones each time: mulberry32 makes even ones, Box and Muller's formula bends them.
function normals(count) {
  let seed = 8;
  const even = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  return Array.from({ length: count }, () => {
    const [length, angle] = [Math.sqrt(-2 * Math.log(1 - even())), 2 * Math.PI * even()];
    return [length * Math.cos(angle), length * Math.sin(angle)];
  });
}

const LOST = 1e9; // a loss above this counts as diverged, and the walk ends there

// All places of one optimizer and the losses there, `total` + 1 of each unless it diverged.
export function walk(surface, name, settings, start, total) {
  const chance = settings.noise ? normals(total) : null;
  const memories = start.map(() => ({}));
  const places = [start];
  const losses = [surface.loss(...start)];
  for (let step = 0; step < total && losses[step] <= LOST; step++) {
    const gradient = surface.gradient(...places[step]);
    places.push(places[step].map((w, i) =>
      UPDATES[name](w, gradient[i] + (chance ? settings.noise * chance[step][i] : 0), memories[i], settings)));
    losses.push(surface.loss(...places[step + 1]));
  }
  return { places, losses, diverged: losses.at(-1) <= LOST ? null : losses.length - 1 };
}

const latest = Object.fromEntries(NAMES.map((name) => [name, {}]));

// The walk of an optimizer under a state's settings; only what has changed since the last picture is walked again.
function walkOf(state, name) {
  const surface = surfaceOf(state);
  const { momentum, alpha, beta1, beta2, decay, noise, start, total } = state;
  const settings = { rate: state.rates[name], momentum, alpha, beta1, beta2, decay, noise };
  const asked = JSON.stringify([settings, start, total]);
  const last = latest[name];
  if (last.surface !== surface || last.asked !== asked) {
    latest[name] = { surface, asked, result: walk(surface, name, settings, start, total) };
  }
  return latest[name].result;
}

// Where a walk ends, for Python.
const endOf = ({ places, losses, diverged }) => ({ place: places.at(-1), loss: losses.at(-1), diverged });

// --- the map: lines of equal loss by marching squares ----------------------------------------------------------------

const CELLS = 90;

// The root of the loss on a grid. It is nearly straight on steep walls, so places between grid points come out right.
function sampled({ loss, x, y }) {
  const at = ([from, to], i) => from + ((to - from) * i) / CELLS;
  return Array.from({ length: CELLS + 1 }, (_, j) =>
    Array.from({ length: CELLS + 1 }, (_, i) => Math.sqrt(Math.max(0, loss(at(x, i), at(y, j))))));
}

// Lines on which the grid's values are `level`, as lists of [column, row].
export function contour(grid, level) {
  const crossings = new Map(); // for an edge of the grid: where the line crosses it, and the crossings next to that
  const edge = (i, j, di, dj) => {
    const [a, b] = [grid[j][i], grid[j + dj][i + di]];
    if (a < level === b < level) return [];
    const key = 2 * (j * grid.length + i) + dj;
    const share = (level - a) / (b - a);
    if (!crossings.has(key)) crossings.set(key, { point: [i + di * share, j + dj * share], next: [] });
    return [crossings.get(key)];
  };
  for (let j = 0; j < grid.length - 1; j++) {
    for (let i = 0; i < grid.length - 1; i++) {
      const found = [...edge(i, j, 1, 0), ...edge(i + 1, j, 0, 1), ...edge(i, j + 1, 1, 0), ...edge(i, j, 0, 1)];
      for (let n = 0; n + 1 < found.length; n += 2) {
        found[n].next.push(found[n + 1]);
        found[n + 1].next.push(found[n]);
      }
    }
  }
  return chained([...crossings.values()]);
}

// Follow the crossings from one to the next: first the lines that end at the rim, then the rings.
function chained(crossings) {
  const lines = [];
  for (const first of [...crossings.filter(({ next }) => next.length === 1), ...crossings]) {
    if (first.done) continue;
    const points = [];
    for (let here = first; here; here = here.next.find(({ done }) => !done)) {
      here.done = true;
      points.push(here.point);
    }
    const ring = points.length > 2 && first.next.length === 2;
    lines.push(ring ? [...points, points[0]] : points);
  }
  return lines;
}

// Leave out points, never two in a row, that lie on the line between their neighbors, to a tenth of an SVG unit.
function thinned(points) {
  const kept = [points[0]];
  for (let i = 1; i < points.length - 1; i++) {
    const [[ax, ay], [bx, by], [cx, cy]] = points.slice(i - 1, i + 2);
    const off = Math.abs((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / Math.hypot(cx - ax, cy - ay);
    if (off > 0.1 || kept.at(-1) !== points[i - 1]) kept.push(points[i]);
  }
  return [...kept, points.at(-1)];
}

// All contours of a surface as SVG text: the lower the loss, the stronger the line; every third has its number.
const contours = once((surface, toX, toY) => {
  const grid = sampled(surface);
  const [x, y] = [surface.x, surface.y].map(([from, to]) => (cell) => from + ((to - from) * cell) / CELLS);
  return surface.levels.map((level, n) => {
    const lines = contour(grid, Math.sqrt(level))
      .map((points) => thinned(points.map(([i, j]) => [toX(x(i)), toY(y(j))])));
    const strength = (0.7 - (0.5 * n) / surface.levels.length).toFixed(2);
    return `<path d="${lines.map(path).join("")}" fill="none" stroke="currentColor" stroke-opacity="${strength}"/>` +
      (n % 3 === 1 ? numbered(lines, short(level, 2), surface.x.map(toX), surface.y.map(toY)) : "");
  }).join("");
});

// A number where the lines come nearest to the lower left corner of the map: there they keep clear of each other.
function numbered(lines, text, [left, right], [bottom, top]) {
  const inside = lines.flat().filter(([x, y]) => x > left + 14 && x < right - 14 && y < bottom - 9 && y > top + 9);
  if (!inside.length) return "";
  return haloed(text, inside.reduce((best, point) => (point[0] - point[1] < best[0] - best[1] ? point : best)));
}

function haloed(text, [x, y]) {
  const inside = words(text, [x, y + 4], { anchor: "middle" });
  return `<g stroke="var(--wit-paper)" stroke-width="3" paint-order="stroke">${inside}</g>`;
}

// --- the picture -----------------------------------------------------------------------------------------------------

const HEIGHT = 310;
const look = (name) => ({ color: PALETTE[NAMES.indexOf(name)], dash: DASHES[NAMES.indexOf(name)] });
const pair = ([x, y]) => `(${short(x)}, ${short(y)})`;

// A path with a round dot for each step, so that the length of the steps can be seen.
function trail(name, points) {
  const { color, dash } = look(name);
  const steps = points.map((point) => `${path([point])}h0`).join("");
  return line(points, color, { dash, width: 1.5 }) +
    `<path d="${steps}" stroke="${color}" stroke-width="4" stroke-linecap="round"/>` + dot(points.at(-1), color);
}

function map(state, surface, walks) {
  const { minima, marks = [] } = surface;
  const inside = (toX, toY) => {
    const at = ([x, y]) => [toX(x), toY(y)];
    const below = (point) => [at(point)[0], at(point)[1] + 14];
    return [
      contours(surface, toX, toY),
      ...walks.map(({ name, places }) => trail(name, places.slice(0, state.shown + 1).map(at))),
      dot(at(state.start), "currentColor", { hollow: true }),
      ...[...minima, ...marks.map((mark) => mark.at)].map((point) => cross(at(point), "currentColor", 5)),
      ...marks.map((mark) => haloed(mark.name, below(mark.at))),
    ].join("");
  };
  const ends = walks.map(({ name, places }) => `${name} at ${pair(places[Math.min(state.shown, places.length - 1)])}`);
  return chart({
    title: "Map: tap to set the start", height: HEIGHT,
    alt: `Contours of the loss. After ${state.shown} steps: ${ends.join(", ")}.`,
    x: { domain: surface.x, label: marks.length ? "distance along one direction" : "first weight x" },
    y: { domain: surface.y, label: marks.length ? "distance along the other" : "second weight y" },
  }, inside);
}

// Losses from the highest worth showing to the lowest, over all steps, so that the axis stands still while it plays.
function lossAxis(walks) {
  const all = walks.flatMap(({ losses }) => losses.filter((loss) => loss > 0));
  if (!all.length) return { domain: [0, 1], label: "loss" }; // all stay where the loss is 0
  const highest = Math.min(Math.max(...all), 100 * (walks[0].losses[0] || Infinity));
  const lowest = Math.max(Math.min(...all), 1e-8 * highest);
  if (highest < 20 * lowest) return { domain: [0.95 * lowest, 1.02 * highest], label: "loss" };
  return { domain: [10 ** Math.floor(Math.log10(lowest)), 1.5 * highest], log: true, label: "loss, logarithmic" };
}

function curves(state, walks) {
  const y = lossAxis(walks);
  const lowest = y.domain[0] / 10; // a loss of 0 has no place on a logarithmic axis
  const inside = (toX, toY) => walks.map(({ name, losses }) => {
    const points = losses.slice(0, state.shown + 1).map((loss, step) => [toX(step), toY(Math.max(loss, lowest))]);
    return line(points, look(name).color, { dash: look(name).dash }) + dot(points.at(-1), look(name).color);
  }).join("");
  const now = walks.map(({ name, losses }) => `${name} ${short(losses[Math.min(state.shown, losses.length - 1)])}`);
  return chart({
    title: "Loss at each step", height: HEIGHT, alt: `Loss after ${state.shown} steps: ${now.join(", ")}.`,
    x: { domain: [0, Math.max(1, state.total)], label: "step" }, y,
  }, inside);
}

const isOn = ({ x, y }, [px, py]) => px >= x[0] && px <= x[1] && py >= y[0] && py <= y[1];

// Where an optimizer is: how far from the nearest minimum, or since when it is lost.
function whereabouts(surface, { places, diverged }, shown) {
  if (diverged !== null && diverged <= shown) return `diverged at step ${diverged}`;
  const place = places[shown];
  if (!isOn(surface, place)) {
    const back = places.slice(0, shown).findLastIndex((earlier) => isOn(surface, earlier));
    return `left the map at step ${back + 1}`;
  }
  if (!surface.minima.length) return pair(place);
  return short(Math.min(...surface.minima.map(([x, y]) => Math.hypot(place[0] - x, place[1] - y))));
}

function swatch(name) {
  const { color, dash } = look(name);
  const stroke = line([[0, 5], [26, 5]], color, { dash, width: 3 });
  return `<svg class="wit-swatch" viewBox="0 0 26 10" aria-hidden="true">${stroke}</svg>`;
}

function table(state, surface, walks) {
  const rows = walks.map((result) => {
    const { name, losses } = result;
    const seen = losses.slice(0, state.shown + 1);
    const cells = [
      figure(`loss ${name}`, short(seen.at(-1))),
      figure(`lowest ${name}`, short(Math.min(...seen))),
      figure(`place ${name}`, whereabouts(surface, result, state.shown)),
    ];
    const head = `${name} <span style="font-weight:400">at ${short(state.rates[name])}</span>`;
    return `<tr><th scope="row">${head}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  const heads = ["at its rate", "loss", "lowest", surface.minima.length ? "to the minimum" : "place"];
  return `<table style="font-size:0.87em"><thead><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr></thead>` +
    `<tbody>${rows.join("")}</tbody></table>`;
}

// What a picture does not say by itself.
function remarks(state, surface) {
  const { optimizers, rates, decay, noise } = state;
  const equal = optimizers.includes("Adam") && optimizers.includes("AdamW") && rates.Adam === rates.AdamW && !decay;
  return [
    surface.text,
    decay > 0 ? "Decay pulls every weight towards 0; the losses do not include it." : "",
    equal ? "Without decay Adam and AdamW take the same steps." : "",
    noise > 0 ? "Each optimizer meets the same noise; the losses are without it." : "",
  ].filter(Boolean).map(escape).join(" ");
}

export function view(state) {
  const surface = surfaceOf(state);
  const walks = state.optimizers.map((name) => ({ name, ...walkOf(state, name) }));
  return {
    panels: [map(state, surface, walks), curves(state, walks)],
    reading: table(state, surface, walks) +
      `<p>After ${figure("step", String(state.shown))} steps. ${remarks(state, surface)}</p>`,
  };
}

// --- state and controls ----------------------------------------------------------------------------------------------

const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(isNumber);

function isPlane(plane) {
  const { model, measured, weights, steps, x, y, marks, losses } = plane ?? {};
  return [model, measured].every((text) => typeof text === "string" && text) && [weights, steps].every(isNumber) &&
    [x, y].every((ends) => isPair(ends) && ends[0] < ends[1]) &&
    Array.isArray(marks) && marks.every((mark) => typeof mark?.name === "string" && isPair(mark.at)) &&
    Array.isArray(losses) && losses.length > 3 && losses[0]?.length > 3 &&
    losses.every((row) => Array.isArray(row) && row.length === losses[0].length && row.every(isNumber));
}

function checkOptimizers(optimizers) {
  const known = Array.isArray(optimizers) && optimizers.every((name) => NAMES.includes(name));
  if (known && optimizers.length && new Set(optimizers).size === optimizers.length) return [];
  return [`optimizers: expected one or more of ${NAMES.join(", ")}, got ${quoted(optimizers)}.`];
}

export function check(state) {
  const { surface, optimizers, rates, start, total, plane } = state;
  if (plane !== null && !isPlane(plane)) {
    return ["plane: expected null or the recording of course_lib.recorded.loss_plane, got something else."];
  }
  const surfaces = [...Object.keys(SURFACES), ...(plane ? ["plane"] : [])];
  const first = [...oneOf("surface", surface, surfaces), ...checkOptimizers(optimizers)];
  if (first.length) return first;
  const { x, y } = surfaceOf(state);
  const at = isPair(start) ? [...outside("start x", start[0], ...x), ...outside("start y", start[1], ...y)]
    : [`start: expected two numbers [x, y], got ${quoted(start)}.`];
  return [
    ...optimizers.flatMap((name) => outside(`rate of ${name}`, rates?.[name], 0, 1000, { above: true })),
    ...oneOf("selected", state.selected, NAMES),
    ...["momentum", "alpha", "beta1", "beta2"].flatMap((name) => share(name, state[name])),
    ...outside("decay", state.decay, 0, 10),
    ...outside("noise", state.noise, 0, 1000),
    ...at,
    ...outside("total", total, 1, 2000, { whole: true }),
    ...outside("shown", state.shown, 0, isNumber(total) ? total : 2000, { whole: true }),
  ];
}

function share(name, value) {
  if (isNumber(value) && value >= 0 && value < 1) return [];
  return [`${name}: expected a number from 0 to below 1 (the share kept each step), got ${quoted(value)}.`];
}

const RATES = [-5, -4, -3, -2, -1, 0].flatMap((power) =>
  [1, 1.3, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8].map((digits) => Number(`${digits}e${power}`)));
const KEPT = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];
const AMOUNTS = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

// The sliders of the selected optimizer, each with the name that course_lib.optim gives the setting.
const BETAS = ["beta1", "beta2"];
const OWN = { SGD: [], Momentum: ["momentum"], RMSProp: ["alpha"], Adam: BETAS, AdamW: BETAS };

export function controls(state, { playing = false } = {}) {
  const { surface, optimizers, rates, start, shown, total, plane } = state;
  const selected = optimizers.includes(state.selected) ? state.selected : optimizers[0];
  const slider = (key, label, stops) => ({ kind: "slider", key, label, stops, value: state[key], format: String });
  const names = [...Object.keys(SURFACES), ...(plane ? ["plane"] : [])];
  return [
    {
      kind: "checks", key: "optimizers", label: "Optimizers", value: optimizers,
      options: NAMES.map((name) => [name, name, swatch(name)]),
    },
    {
      kind: "select", key: "surface", label: "Loss surface", value: surface,
      change: (value) => ({ surface: value, ...suggested({ surface: value, plane }) }),
      options: names.map((name) => [name, name === "plane" ? "real model, in a plane" : name]),
    },
    {
      kind: "select", key: "selected", label: "Settings of", value: selected,
      options: optimizers.map((name) => [name, name]),
    },
    {
      kind: "slider", key: "rate", label: `Rate of ${selected}`, stops: RATES, value: rates[selected],
      change: (value, now) => ({ rates: { ...now.rates, [selected]: value } }),
    },
    ...OWN[selected].map((key) => slider(key, key, KEPT)),
    slider("decay", "Weight decay, all", AMOUNTS),
    slider("noise", "Gradient noise, all", AMOUNTS),
    ...["x", "y"].map((letter, i) => startSlider(surfaceOf(state)[letter], letter, start, i)),
    { kind: "slider", key: "shown", label: "Steps shown", min: 0, max: total, step: 1, value: shown },
    { kind: "button", key: "step", label: "Step" },
    { kind: "button", key: "play", label: playing ? "Pause" : "Play" },
    { kind: "button", key: "reset", label: "Reset" },
  ];
}

const grain = ([from, to]) => 10 ** Math.floor(Math.log10((to - from) / 100));
const rounded = (value, step) => Number((Math.round(value / step) * step).toPrecision(12));

function startSlider([min, max], letter, start, index) {
  return {
    kind: "slider", key: `start ${letter}`, label: `Start ${letter}`, value: start[index],
    min, max, step: grain([min, max]),
    change: (value, now) => ({ start: now.start.map((old, i) => (i === index ? value : old)) }),
  };
}

function pointed({ state, set }, panel, ...shares) {
  if (panel !== 0) return;
  const { x, y } = surfaceOf(state);
  set({ start: [x, y].map(([from, to], i) => rounded(from + (to - from) * shares[i], grain([from, to]))) });
}

// One step a frame until the end. Only the end, or a pause, is told to the kernel.
function play(tools) {
  const { frame, set } = tools;
  frame.playing = !frame.playing;
  if (!frame.playing) return set({});
  if (tools.state.shown >= tools.state.total) set({ shown: 0 }, { keep: false });
  const advance = () => {
    if (!frame.playing) return; // paused, or taken off the page
    const { shown, total } = tools.state;
    frame.playing = shown + 1 < total;
    set({ shown: Math.min(shown + 1, total) }, { keep: !frame.playing });
    requestAnimationFrame(advance);
  };
  return requestAnimationFrame(advance);
}

const commands = {
  step: ({ state, set }) => set({ shown: Math.min(state.shown + 1, state.total) }),
  play,
  reset: ({ set, frame }) => {
    frame.playing = false;
    set({ shown: 0 });
  },
};

export default widget({ defaults, check, controls, view, commands, pointed });
