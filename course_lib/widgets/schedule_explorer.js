// ScheduleExplorer: a learning rate over a run, from its length, its warm-up and its shape (chapter 09).
import { chart, dot, figure, line, oneOf, outside, path, short, widget } from "./shared.js";

export const defaults = { shape: "cosine", rate: 3e-4, total: 1000, warmup: 100, floor: 0 };

const MOST = 1e6; // updates; the picture draws some of them, the sums take all
const RATES = Array.from({ length: 61 }, (_, i) => Number((10 ** (-6 + i / 10)).toPrecision(2)));

export function check({ shape, rate, total, warmup, floor }) {
  return [
    ...oneOf("shape", shape, ["constant", "linear", "cosine"]),
    ...outside("Highest rate", rate, 0, 1000, { above: true }),
    ...outside("Total steps", total, 1, MOST, { whole: true }),
    ...outside("Warm-up steps", warmup, 0, MOST, { whole: true }),
    ...outside("Floor", floor, 0, 1),
  ];
}

// The multipliers of course_lib.schedules: of the update that follows `step` finished ones.
export function multiplier({ shape, total, warmup, floor }, step) {
  if (step < warmup) return step / warmup;
  if (shape === "constant") return 1;
  if (step >= total) return floor;
  const progress = (step - warmup) / (total - warmup);
  return floor + (1 - floor) * (shape === "linear" ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress)));
}

// The highest rate that an update used, which update that was, and the sum of the rates of all updates.
export function summary(state) {
  let [highest, at, area] = [-1, 0, 0];
  for (let step = 0; step < state.total; step++) {
    const rate = state.rate * multiplier(state, step);
    if (rate > highest) [highest, at] = [rate, step + 1];
    area += rate;
  }
  return { highest, at, area, last: state.rate * multiplier(state, state.total - 1) };
}

export function controls({ shape, rate, total, warmup, floor }) {
  return [
    {
      kind: "select", key: "shape", label: "Shape", value: shape,
      options: ["constant", "linear", "cosine"].map((name) => [name, name]),
    },
    { kind: "slider", key: "rate", label: "Rate that is set", value: rate, stops: RATES },
    { kind: "number", key: "total", label: "Total steps (updates)", value: total, min: 1, max: MOST },
    { kind: "number", key: "warmup", label: "Warm-up steps (updates)", value: warmup, min: 0, max: MOST },
    {
      kind: "slider", key: "floor", label: "Floor (share of the rate)", value: floor, min: 0, max: 1, step: 0.01,
      off: shape === "constant",
    },
  ];
}

// The steps worth drawing: 300 of them, and both sides of each corner.
function drawn({ total, warmup }) {
  const even = Array.from({ length: 301 }, (_, i) => Math.round((i * (total - 1)) / 300));
  const corners = [warmup - 1, warmup, warmup + 1].filter((step) => step >= 0 && step < total);
  return [...new Set([...even, ...corners])].sort((a, b) => a - b);
}

function curve(state, { highest, at }) {
  const { rate, total, warmup, shape } = state;
  const steps = drawn(state);
  const end = Math.max(total, 2);
  return chart({
    title: "Rate of each update", width: 480,
    x: { domain: [0, end], label: "update" }, y: { domain: [0, rate * 1.08], label: "learning rate" },
    alt: `A ${shape} schedule over ${total} updates with ${warmup} of warm-up; the highest rate is ` +
      `${short(highest)} at update ${at}.`,
  }, (x, y) => {
    const points = steps.map((step) => [x(step + 1), y(rate * multiplier(state, step))]);
    const outline = path([[x(1), y(0)], ...points, [x(total), y(0)]]);
    const area = `<path d="${outline}Z" fill="var(--wit-0)" fill-opacity="0.12"/>`;
    const set = line([[x(0), y(rate)], [x(end), y(rate)]], "var(--wit-1)", { dash: "7 3", width: 1.5 });
    return area + set + line(points, "var(--wit-0)", { width: 2.5 }) + dot([x(at), y(highest)], "var(--wit-0)");
  });
}

export function view(state) {
  const { rate, total, warmup } = state;
  const found = summary(state);
  const share = (100 * found.area) / (rate * total);
  const warning = warmup >= total
    ? `<p role="status"><b>The warm-up outlives the run.</b> It needs ${figure("needed", String(warmup + 1))} ` +
      `updates to use the rate that is set; the run ends after ${total}. The highest rate is ` +
      `${short((100 * found.highest) / rate)}% of the setting, and nothing decays.</p>`
    : "";
  return {
    panels: [curve(state, found)],
    reading: `<p>Highest rate ${figure("highest", short(found.highest, 4))}, first used by update ` +
      `${figure("at", String(found.at))} (dashed: the setting). ` +
      `Last rate ${figure("last", short(found.last, 4))}.</p>` +
      `<p>Area under the curve ${figure("area", short(found.area, 4))}: the sum of all rates, ` +
      `${figure("share", short(share))}% of what the set rate would give without warm-up and decay.</p>${warning}`,
  };
}

export default widget({ defaults, check, controls, view });
