// What every widget of the course shares: charts as SVG text, controls, and the frame that redraws them.
//
// A widget's own file says what it is by four values and hands them to `widget`:
//   defaults           its state, plain JSON; Python's traits have the same names and the same values
//   check(state)       what is wrong with a state, in words; an empty list lets it be drawn
//   controls(state)    the inputs, as a list of {kind, key, label, ...}
//   view(state)        {panels: [SVG text], reading: HTML text}: a pure function, so Python can run it too
// Python (base.py) runs `markup` in a small JavaScript engine: the page shows the picture before any script has run.

export const PALETTE = ["var(--wit-0)", "var(--wit-1)", "var(--wit-2)", "var(--wit-3)", "var(--wit-4)"];
export const DASHES = ["", "7 3", "2 3", "9 3 2 3", "1 4"]; // lines differ without color too

// --- numbers and text ------------------------------------------------------------------------------------------------

export function escape(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return String(text).replace(/[&<>"]/g, (character) => names[character]);
}

// Three digits, or as many as asked for, without zeros at the end: 0.00123, 12.3, 4270, 1.2e−5, 4.27e5.
export function short(number, digits = 3) {
  if (Number.isNaN(number)) return "not a number";
  if (!Number.isFinite(number)) return number > 0 ? "infinite" : "minus infinite";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const tiny = size < 1e-3 || size >= 1e5;
  const text = tiny ? number.toExponential(digits - 1) : String(Number(number.toPrecision(digits)));
  const trimmed = text.replace(/(\.\d*?)0+e/, "$1e").replace(".e", "e").replace("e+", "e");
  return trimmed.replace(/-/g, "−");
}

export const grouped = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, ","); // 16,064
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
export const isWhole = (value) => Number.isInteger(value);

// A value as a message quotes it: what JSON would call null keeps its name.
export function quoted(value) {
  if (Array.isArray(value)) return `[${value.map(quoted).join(", ")}]`;
  return typeof value === "number" ? String(value) : JSON.stringify(value);
}

// A sentence for each value that is no number between `least` and `most`; nothing when all is well.
export function outside(name, value, least, most, { whole = false, above = false } = {}) {
  const low = isNumber(value) && (above ? value > least : value >= least);
  if (low && value <= most && (!whole || isWhole(value))) return [];
  const kind = whole ? "a whole number" : "a number";
  const range = above ? `above ${short(least)} and up to ${short(most)}` : `from ${short(least)} to ${short(most, 6)}`;
  return [`${name}: expected ${kind} ${range}, got ${quoted(value)}.`];
}

export function oneOf(name, value, allowed) {
  return allowed.includes(value) ? [] : [`${name}: expected one of ${allowed.join(", ")}, got ${quoted(value)}.`];
}

// Compute once for each object that comes first: every frame asks for the same contours, or ranks the same scores.
export function once(compute) {
  const known = new WeakMap();
  return (key, ...rest) => {
    if (!known.has(key)) known.set(key, compute(key, ...rest));
    return known.get(key);
  };
}

// --- charts ----------------------------------------------------------------------------------------------------------

const MARGIN = { left: 24, right: 14, top: 26, bottom: 42 };
const CHARACTER = 7; // SVG units that a digit of a tick's label needs

// A scale maps values to SVG units: {domain: [from, to], log: whether it is logarithmic}.
export function scale({ domain, log = false }, from, to) {
  const f = log ? Math.log10 : (value) => value;
  const [a, b] = domain.map(f);
  return (value) => from + ((f(value) - a) / (b - a)) * (to - from);
}

export function ticks({ domain: [from, to], log = false }, wanted = 5) {
  if (log) {
    const [a, b] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
    const every = Math.max(1, Math.ceil((b - a) / wanted));
    return Array.from({ length: Math.max(0, Math.floor((b - a) / every) + 1) }, (_, i) => 10 ** (a + i * every));
  }
  const rough = (to - from) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const place = (number) => Math.round(number * 10) / 10;

// An SVG with two axes: {domain, log, label, ticks, format, room: least characters kept for labels}. `draw(x, y)` gets
// the two scales and returns SVG text that is cut off at the frame; what `over(x, y)` returns is not.
export function chart({ title, x, y, alt, height = 250, width = 310, over = () => "" }, draw) {
  const name = (axis) => axis.format ?? short;
  const longest = Math.max(3, y.room ?? 0, ...(y.ticks ?? ticks(y)).map((value) => name(y)(value).length));
  const [left, right] = [MARGIN.left + CHARACTER * longest, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const toX = scale(x, left, right);
  const toY = scale(y, bottom, top);
  const grid = (x1, x2, y1, y2) => `<line x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}" class="wit-grid"/>`;
  const xTicks = (x.ticks ?? ticks(x)).map((value) => [place(toX(value)), escape(name(x)(value))]).map(([at, text]) =>
    `${grid(at, at, top, bottom)}<text x="${at}" y="${bottom + 16}" text-anchor="middle">${text}</text>`);
  const yTicks = (y.ticks ?? ticks(y)).map((value) => [place(toY(value)), escape(name(y)(value))]).map(([at, text]) =>
    `${grid(left, right, at, at)}<text x="${left - 6}" y="${at + 4}" text-anchor="end">${text}</text>`);
  const clip = `wit-${[left, top, right, bottom].join("-")}`; // the same rectangle wherever a page defines it twice
  const frame = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"`;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(alt)}" data-left="${left}" ` +
    `data-right="${right}" data-top="${top}" data-bottom="${bottom}">` +
    `<clipPath id="${clip}"><rect ${frame}/></clipPath>` +
    `<text x="${left}" y="15" class="wit-title">${escape(title)}</text>${xTicks.join("")}${yTicks.join("")}` +
    `<rect ${frame} class="wit-frame"/>` +
    `<text x="${(left + right) / 2}" y="${height - 8}" text-anchor="middle">${escape(x.label)}</text>` +
    `<text transform="translate(12 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escape(y.label)}</text>` +
    `<g clip-path="url(#${clip})">${draw(toX, toY)}</g>${over(toX, toY)}</svg>`;
}

const FAR = 1e5; // SVG units; a browser draws nothing sensible for 1e300
const near = (number) => place(Math.max(-FAR, Math.min(FAR, number)));

// The d attribute of a line through points already in SVG units.
export function path(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${near(x)} ${near(y)}`).join("");
}

export function line(points, color, { dash = "", width = 2, opacity = 1 } = {}) {
  if (!points.length) return "";
  return `<path d="${path(points)}" fill="none" stroke="${color}" stroke-width="${width}" stroke-opacity="${opacity}"` +
    `${dash && ` stroke-dasharray="${dash}"`} stroke-linejoin="round"/>`;
}

// The area between two rows of points.
export function band(upper, lower, color) {
  if (!upper.length) return "";
  return `<path d="${path([...upper, ...lower.slice().reverse()])}Z" fill="${color}" fill-opacity="0.22"/>`;
}

export function dot([x, y], color, { radius = 4, hollow = false } = {}) {
  return `<circle cx="${near(x)}" cy="${near(y)}" r="${radius}" stroke="${color}" stroke-width="2" ` +
    `fill="${hollow ? "var(--wit-paper)" : color}"/>`;
}

export function cross([x, y], color, size = 4) {
  const [a, b] = [near(x), near(y)];
  return `<path d="M${a - size} ${b - size}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}" ` +
    `stroke="${color}" stroke-width="2" fill="none"/>`;
}

export function words(text, [x, y], { anchor = "start", color = "currentColor" } = {}) {
  return `<text x="${near(x)}" y="${near(y)}" text-anchor="${anchor}" style="fill:${color}">${escape(text)}</text>`;
}

// A number that a reader, and a test, can find: <b data-value="loss">2.303</b>
export function figure(name, text) {
  return `<b data-value="${name}">${escape(text)}</b>`;
}

// --- controls --------------------------------------------------------------------------------------------------------

// kinds: "slider" {min, max, step} or {stops: [values]}, both with `format`; "number"; "select" and "checks" {options:
// [[value, text, mark]]}; "button". A control that is `off` is shown and cannot be used; a `wide` one gets more room.
function control(spec) {
  const { kind, key, label, off = false } = spec;
  const common = `data-key="${escape(key)}"${off ? " disabled" : ""}`;
  const box = `wit-control${spec.wide ? " wit-wide" : ""}`;
  if (kind === "button") return `<button type="button" ${common}>${escape(label)}</button>`;
  if (kind === "slider") {
    const { min, max, step } = spec.stops ? { min: 0, max: spec.stops.length - 1, step: 1 } : spec;
    return `<label class="${box}"><span>${escape(label)} ` +
      `<span class="wit-value" aria-hidden="true">${escape(shown(spec))}</span></span>` +
      `<input type="range" ${common} min="${min}" max="${max}" step="${step}" value="${position(spec)}" ` +
      `aria-valuetext="${escape(shown(spec))}"></label>`;
  }
  if (kind === "number") {
    return `<label class="${box}"><span>${escape(label)}</span><input type="number" ${common} ` +
      `min="${spec.min}" max="${spec.max}" step="${spec.step ?? 1}" value="${escape(spec.value)}"></label>`;
  }
  if (kind === "select") {
    const options = spec.options.map(([value, text]) =>
      `<option value="${escape(value)}"${value === spec.value ? " selected" : ""}>${escape(text)}</option>`);
    return `<label class="${box}"><span>${escape(label)}</span><select ${common}>${options.join("")}</select></label>`;
  }
  const boxes = spec.options.map(([value, text, mark = ""]) =>
    `<label><input type="checkbox" ${common} value="${escape(value)}"${spec.value.includes(value) ? " checked" : ""}>` +
    `${mark}${escape(text)}</label>`);
  return `<fieldset class="wit-control wit-checks"><legend>${escape(label)}</legend>${boxes.join("")}</fieldset>`;
}

// All controls, the buttons in a row of their own at the end.
function inputsOf(specs) {
  const buttons = specs.filter(({ kind }) => kind === "button").map(control).join("");
  return specs.filter(({ kind }) => kind !== "button").map(control).join("") +
    (buttons && `<div class="wit-buttons">${buttons}</div>`);
}

// The place in a list of the value that is nearest on a log scale, where 0 lies below everything.
export function nearest(stops, value) {
  const distance = (stop) => Math.abs(Math.log(Math.max(stop, 1e-300) / Math.max(value, 1e-300)));
  return stops.reduce((best, stop, i) => (distance(stop) < distance(stops[best]) ? i : best), 0);
}

// Where the handle of a slider stands: a value, or the place of the nearest of its stops.
const position = ({ stops, value }) => (stops ? nearest(stops, value) : value);
const shown = (spec) => (spec.format ?? short)(spec.value);

// The value that an input element stands for. An empty number field is null: `check` then says what was expected.
function entered(spec, input, state) {
  if (spec.kind === "slider") return spec.stops ? spec.stops[Number(input.value)] : Number(input.value);
  if (spec.kind === "number") return input.value.trim() === "" ? null : Number(input.value);
  if (spec.kind === "select") return spec.options.find(([value]) => String(value) === input.value)[0];
  const others = state.filter((value) => value !== input.value);
  if (!input.checked) return others;
  return spec.options.map(([value]) => value).filter((value) => value === input.value || others.includes(value));
}

// Give an existing input its new value; the one in which a person is typing is left alone.
function refresh(root, spec) {
  for (const input of root.querySelectorAll(`[data-key="${spec.key}"]`)) {
    input.disabled = spec.off ?? false;
    if (spec.kind === "button") input.textContent = spec.label;
    else if (spec.kind === "checks") input.checked = spec.value.includes(input.value);
    else if (input !== input.ownerDocument.activeElement || spec.kind !== "number") {
      input.value = spec.kind === "slider" ? position(spec) : spec.value;
    }
    if (spec.kind === "slider") {
      input.setAttribute("aria-valuetext", shown(spec));
      input.parentElement.querySelector(".wit-value").textContent = shown(spec);
    }
  }
}

// Two lists of controls with the same skeleton can be refreshed in place; others are built anew.
const skeleton = (specs) =>
  JSON.stringify(specs.map(({ kind, key, options, stops, min, max }) => [kind, key, options, stops, min, max]));

// --- the frame -------------------------------------------------------------------------------------------------------

const panels = (svgs) => svgs.map((svg) => `<div class="wit-panel">${svg}</div>`).join("");
const problemText = (problems) => problems.map(escape).join("<br>");

// All of a widget as HTML: what Python writes into the page, and what the script starts from.
export function markup(parts, state) {
  const problems = parts.check(state);
  const drawn = problems.length ? { panels: [], reading: "" } : parts.view(state);
  return `<div class="wit-controls">${inputsOf(controlsOf(parts, state))}</div>` +
    `<p class="wit-message" role="alert"${problems.length ? "" : " hidden"}>${problemText(problems)}</p>` +
    `<div class="wit-panels">${panels(drawn.panels)}</div>` +
    `<div class="wit-reading" aria-live="polite">${drawn.reading}</div>`;
}

// The controls of a state; a refused one shows its good part, and the defaults for the rest.
function controlsOf({ check, controls, defaults }, state) {
  return controls(check(state).length ? { ...defaults, ...goodPart(check, defaults, state) } : state);
}

// The values of a refused state that are no reason for refusing it. A value is a reason if the default in its place
// leaves less to complain about.
function goodPart(check, defaults, state) {
  const problems = check(state).length;
  const good = Object.entries(state).filter(([key]) => check({ ...state, [key]: defaults[key] }).length >= problems);
  const together = Object.fromEntries(good);
  return check({ ...defaults, ...together }).length ? {} : together;
}

// Make the anywidget module of a widget. `commands` maps a button's key to what it does; `pointed` hears of taps.
export function widget(parts) {
  const { check, controls, view, defaults, commands = {}, pointed = null } = parts;
  return {
    parts,
    render({ model, el }) {
      const keys = Object.keys(defaults);
      let state = Object.fromEntries(keys.map((key) => [key, model.get(key)]));
      let waiting = 0;
      const frame = { playing: false };
      const root = el.ownerDocument.createElement("div");
      root.className = "wit";
      root.dataset.lmSuppressShortcuts = "true"; // an arrow key is the slider's here, not JupyterLab's, whether it
      root.addEventListener("keydown", (event) => event.stopPropagation()); // listens before the slider or after it
      root.innerHTML = markup(parts, state);
      el.replaceChildren(root);
      const [inputs, message, pictures, reading] = root.children;
      let specs = controlsOf(parts, state);

      function redraw() {
        waiting = 0;
        const problems = check(state);
        message.hidden = !problems.length;
        const said = problemText(problems); // what innerHTML gives back is written in another way, and is no measure
        if (message.said !== said) message.innerHTML = message.said = said;
        pictures.classList.toggle("wit-stale", problems.length > 0);
        if (problems.length) return; // the last good picture stays
        const next = controls(state, frame); // whether it is playing may name a button
        if (skeleton(next) !== skeleton(specs)) {
          const { dataset, value } = root.ownerDocument.activeElement ?? {};
          inputs.innerHTML = inputsOf(next);
          const same = dataset?.key ? [...inputs.querySelectorAll(`[data-key="${dataset.key}"]`)] : [];
          (same.find((input) => input.value === value) ?? same[0])?.focus(); // of several checks, the same one
        } else {
          next.forEach((spec) => refresh(inputs, spec));
        }
        specs = next;
        const drawn = view(state);
        drawn.panels.forEach((svg, i) => {
          if (!pictures.children[i]) pictures.append(root.ownerDocument.createElement("div"));
          const panel = pictures.children[i];
          panel.className = "wit-panel";
          if (panel.svg !== svg) panel.innerHTML = panel.svg = svg;
        });
        while (pictures.children.length > drawn.panels.length) pictures.lastChild.remove();
        reading.setAttribute("aria-live", frame.playing ? "off" : "polite");
        reading.innerHTML = drawn.reading;
      }

      function later() {
        if (!waiting) waiting = requestAnimationFrame(redraw);
      }

      // Take new values. Refused ones show a message and go no further; `keep: false` does not tell the kernel yet.
      function set(patch, { keep = true } = {}) {
        state = { ...state, ...patch };
        if (keep && !check(state).length) {
          const moved = (key) => JSON.stringify(model.get(key)) !== JSON.stringify(state[key]);
          for (const key of keys.filter(moved)) model.set(key, state[key]);
          model.save_changes();
        }
        later();
      }

      const tools = { get state() { return state; }, set, model, frame };

      function changed(event) {
        const spec = specs.find(({ key }) => key === event.target.dataset?.key);
        if (!spec || spec.kind === "button") return;
        const value = entered(spec, event.target, state[spec.key]);
        set(spec.change ? spec.change(value, state) : { [spec.key]: value });
      }

      function clicked(event) {
        const button = event.target.closest("button[data-key]");
        if (button) commands[button.dataset.key]?.(tools);
      }

      // A tap on a chart, as shares of its frame from the left and from the bottom.
      function tapped(event) {
        const svg = event.target.closest("svg");
        if (!svg || event.buttons !== 1) return;
        const box = svg.getBoundingClientRect();
        const unit = box.width / svg.viewBox.baseVal.width;
        const { left, right, top, bottom } = svg.dataset;
        const x = ((event.clientX - box.left) / unit - left) / (right - left);
        const y = ((event.clientY - box.top) / unit - bottom) / (top - bottom);
        const panel = [...pictures.children].indexOf(svg.parentElement);
        if (x >= 0 && x <= 1 && y >= 0 && y <= 1) pointed(tools, panel, x, y);
      }

      const fromPython = keys.map((key) => {
        const heard = () => {
          if (JSON.stringify(state[key]) === JSON.stringify(model.get(key))) return;
          state = { ...state, [key]: model.get(key) };
          later();
        };
        model.on(`change:${key}`, heard);
        return () => model.off(`change:${key}`, heard);
      });
      inputs.addEventListener("input", changed);
      inputs.addEventListener("click", clicked);
      if (pointed) {
        pictures.addEventListener("pointerdown", tapped);
        pictures.addEventListener("pointermove", tapped);
      }
      return () => {
        frame.playing = false;
        cancelAnimationFrame(waiting);
        fromPython.forEach((stop) => stop());
      };
    },
  };
}

// --- a page without a kernel -----------------------------------------------------------------------------------------

// Stands where a kernel's model stands in JupyterLab: keeps the state, tells who listens, sends nothing anywhere.
export class StandInModel {
  constructor(state) {
    this.state = state;
    this.pending = new Set();
    this.listeners = {};
  }
  get(key) { return this.state[key]; }
  set(key, value) {
    this.state[key] = value;
    this.pending.add(key);
  }
  save_changes() {
    const keys = [...this.pending];
    this.pending.clear();
    for (const key of keys) for (const heard of this.listeners[`change:${key}`] ?? []) heard();
  }
  on(event, heard) { (this.listeners[event] ??= []).push(heard); }
  off(event, heard) { this.listeners[event] = (this.listeners[event] ?? []).filter((other) => other !== heard); }
  send() {}
}

// Bring the first widget with this mark that has not been started to life, on a page that Python wrote.
export function start(module, mark, state) {
  const el = document.querySelector(`[data-wit="${mark}"]:not([data-started])`);
  el.setAttribute("data-started", "");
  module.render({ model: new StandInModel(state), el });
}
