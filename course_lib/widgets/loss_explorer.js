// LossExplorer: logits on sliders, and what cross-entropy makes of them (chapter 07).
import { chart, escape, figure, isNumber, oneOf, outside, quoted, short, widget, words } from "./shared.js";

export const defaults = {
  labels: ["World", "there", "apple", "zebra"],
  logits: [1, 0.5, 2, 0],
  target: "World",
  temperature: 1,
  smoothing: 0,
};

const [MOST, COLDEST] = [1e6, 1e-3]; // beyond them a logit divided by the temperature says nothing that fits a bar

export function check({ labels, logits, target, temperature, smoothing }) {
  if (!Array.isArray(labels) || labels.length < 2 || labels.length > 8 || new Set(labels).size < labels.length) {
    return [`labels: expected 2 to 8 different names, got ${quoted(labels)}.`];
  }
  const usable = (logit) => isNumber(logit) && Math.abs(logit) <= MOST;
  const fits = Array.isArray(logits) && logits.length === labels.length && logits.every(usable);
  const wanted = `${labels.length} numbers from ${short(-MOST)} to ${short(MOST)}, one for each label`;
  return [
    ...(fits ? [] : [`logits: expected ${wanted}, got ${quoted(logits)}.`]),
    ...oneOf("target", target, labels),
    ...outside("temperature", temperature, COLDEST, 100),
    ...outside("smoothing", smoothing, 0, 1),
  ];
}

// The arithmetic of course_lib.losses: the maximum comes off first, so logits of 1000 do no harm.
export function compute({ labels, logits, target, temperature, smoothing }) {
  const z = logits.map((logit) => logit / temperature);
  const highest = Math.max(...z);
  const logTotal = Math.log(z.reduce((sum, value) => sum + Math.exp(value - highest), 0));
  const logp = z.map((value) => value - highest - logTotal);
  const p = logp.map(Math.exp);
  const q = labels.map((label) => smoothing / labels.length + (label === target ? 1 - smoothing : 0));
  const loss = -q.reduce((sum, share, i) => sum + (share ? share * logp[i] : 0), 0);
  return { p, q, loss, gradient: p.map((value, i) => (value - q[i]) / temperature) };
}

export function controls({ labels, logits, target, temperature, smoothing }) {
  const reach = Math.max(10, ...logits.map((value) => Math.ceil(Math.abs(value))));
  return [
    ...labels.map((label, i) => ({
      kind: "slider", key: `logit ${i}`, label: `Logit of ${label}`, value: logits[i],
      min: -reach, max: reach, step: 0.1,
      change: (value, state) => ({ logits: state.logits.map((old, j) => (j === i ? value : old)) }),
    })),
    {
      kind: "select", key: "target", label: "Correct answer", value: target,
      options: labels.map((label) => [label, label]),
    },
    { kind: "slider", key: "temperature", label: "Temperature", value: temperature, min: 0.1, max: 5, step: 0.1 },
    { kind: "slider", key: "smoothing", label: "Label smoothing", value: smoothing, min: 0, max: 0.5, step: 0.01 },
  ];
}

// Horizontal bars, one for each label; `marks` puts a short line at a second value.
function bars({ title, label, domain, labels, values, marks, target, alt, color }) {
  const height = 68 + 30 * labels.length;
  const y = { domain: [labels.length - 0.4, -0.6], ticks: [], label: "", room: 5 };
  const inside = (toX, toY) => labels.map((_, i) => {
    const [from, to] = [toX(Math.min(0, values[i])), toX(Math.max(0, values[i]))];
    const bar = `<rect x="${from}" y="${toY(i) - 10}" width="${Math.max(to - from, 0.5)}" height="20" ` +
      `fill="${color(i)}" fill-opacity="0.75"/>`;
    if (!marks) return bar;
    return `${bar}<path d="M${toX(marks[i])} ${toY(i) - 13}v26" stroke="currentColor" stroke-width="2.5"/>`;
  }).join("");
  const over = (toX, toY) => labels.map((name, i) =>
    words([...name].length > 7 ? `${[...name].slice(0, 6).join("")}…` : name, [53, toY(i) + 4], { anchor: "end" }) +
    words(short(values[i]), ...beside(toX, values[i], domain[1], toY(i) + 4))).join("");
  return chart({ title, alt, height, x: { domain, label }, y, over }, inside);
}

// Where the number of a bar stands: after its right end, or before it when there is no room left.
function beside(toX, value, most, y) {
  const end = toX(Math.max(0, value));
  return toX(most) - end > 45 ? [[end + 5, y]] : [[end - 5, y], { anchor: "end" }];
}

export function view(state) {
  const { labels, target, temperature, smoothing } = state;
  const { p, q, loss, gradient } = compute(state);
  const color = (i) => (labels[i] === target ? "var(--wit-2)" : "var(--wit-0)");
  const reach = Math.max(1, 1 / temperature) * 1.02;
  const list = (values) => labels.map((label, i) => `${label} ${short(values[i])}`).join(", ");
  const floor = smoothing > 0
    ? ` With smoothing the loss cannot fall below ${figure("floor", short(entropy(q), 4))} nats.` : "";
  return {
    panels: [
      bars({
        title: "Probability p, and the target y", label: "probability (bar: p, line: y)", domain: [0, 1], labels,
        values: p, marks: q, target, color, alt: `Probabilities: ${list(p)}. Targets: ${list(q)}.`,
      }),
      bars({
        title: "Gradient of the loss",
        label: temperature === 1 ? "p − y (nats for each unit of a logit)" : "(p − y) / temperature",
        domain: [-reach, reach], labels, values: gradient, target, color, alt: `Gradient: ${list(gradient)}.`,
      }),
    ],
    reading: `<p>Loss ${figure("loss", short(loss, 4))} nats = ${figure("bits", short(loss / Math.LN2, 4))} bits, ` +
      `perplexity ${figure("perplexity", short(Math.exp(loss), 4))}. ` +
      `p(${escape(target)}) = ${figure("p", short(p[labels.indexOf(target)], 4))}; the gradients add up to 0.` +
      `${floor}</p>`,
  };
}

const entropy = (q) => -q.reduce((sum, share) => sum + (share ? share * Math.log(share) : 0), 0);

export default widget({ defaults, check, controls, view });
