// LearningRateExplorer: real runs at 25 learning rates under one slider, and one more trained now (chapter 09).
import {
  band, chart, cross, dot, escape, figure, isNumber, line, nearest, oneOf, outside, short, widget, words,
} from "./shared.js";

// data: the recording (course_lib/recorded/rate_sweep.json). live: the run in the kernel; null where there is none.
export const defaults = { subject: "characters", rate: 1e-3, data: null, live: null };

export function check({ subject, rate, data }) {
  const sweeps = Object.values(data?.subjects ?? {});
  const drawable = (runs) => ["rates", "seeds", "held_out", "losses"].every((key) => runs?.[key]?.length > 0);
  if (!sweeps.length || !sweeps.every(drawable)) {
    return ["data: expected the recorded runs of course_lib.recorded.rate_sweep, got none that can be drawn."];
  }
  return [...oneOf("subject", subject, Object.keys(data.subjects)), ...outside("rate", rate, 0, 1e6, { above: true })];
}

// --- reading the recorded runs ---------------------------------------------------------------------------------------

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const held = (runs, i) => runs.held_out[i].filter(isNumber);

// One word for a rate, by rules that the reading states: shares of what the best rate gains over knowing nothing.
export function verdict(runs, i) {
  const gain = (j) => (held(runs, j).length === runs.seeds.length ? runs.baseline - mean(held(runs, j)) : -Infinity);
  const gains = runs.rates.map((_, j) => gain(j));
  const best = gains.indexOf(Math.max(...gains));
  const share = gains[i] / gains[best];
  const peak = Math.max(...runs.losses[i].flat().filter(isNumber));
  if (share === -Infinity || share < -0.5) return { word: "explodes", share, best };
  if (share >= 0.9) return { word: "learns", share, best };
  if (i < best) return { word: share < 0.5 ? "crawls" : "learns slowly", share, best };
  if (share >= 0.5 || (share >= 0.1 && peak <= 2 * runs.baseline)) return { word: "oscillates", share, best };
  return { word: peak > 2 * runs.baseline ? "explodes at first and does not recover" : "learns nothing", share, best };
}

const EXPLAINED = {
  crawls: "Each step is too short; the budget ends long before the learning does.",
  "learns slowly": "It goes the right way and is not there yet.",
  learns: "It gains at least nine tenths of what the best recorded rate gains.",
  oscillates: "Steps are longer than the valley is wide: the loss jumps about and ends higher than it could.",
  "learns nothing": "Steps are so long that what one of them learns the next one throws away.",
  "explodes at first and does not recover":
    "The first steps throw the weights far away; from there it learns little or nothing.",
  explodes: "The loss leaves for good: it ends far above knowing nothing, or is no number any more.",
};

// Lowest, mean and highest loss over the seeds that still have one, at each logged step.
function spread(runs, i) {
  const length = Math.max(...runs.losses[i].map((curve) => curve.length));
  return Array.from({ length }, (_, k) => {
    const values = runs.losses[i].map((curve) => curve[k]).filter(isNumber);
    return values.length ? [(k + 0.5) * runs.log_every, Math.min(...values), mean(values), Math.max(...values)] : null;
  }).filter(Boolean);
}

// --- the picture -----------------------------------------------------------------------------------------------------

function lossAxis(runs) {
  const lowest = Math.min(...runs.held_out.flat().filter(isNumber), ...runs.losses.flat(2).filter(isNumber));
  const one = runs.data === "characters" ? "character" : "review";
  return { domain: [lowest * 0.93, runs.baseline * 1.25], label: `loss (nats per ${one})` };
}

function know(runs, x, y, [from, to]) {
  const ends = [from, to].map((value) => [x(value), y(runs.baseline)]);
  return line(ends, "currentColor", { dash: "3 4", width: 1.5, opacity: 0.7 });
}

const showsLive = (live, subject) => live && live.subject === subject && live.losses?.length > 0;

function curves(state, runs, i) {
  const rows = spread(runs, i);
  const axis = lossAxis(runs);
  const highest = Math.max(...rows.map((row) => row[3]));
  const lost = runs.held_out[i].filter((value) => value === null).length;
  const live = showsLive(state.live, state.subject) ? state.live : null;
  const top = (y, row) => y(axis.domain[1]) + 16 + 16 * row;
  const now = live && `dashed: now, rate ${short(live.rate)}, seed ${live.seed}`;
  const over = (x, y) => words("knows nothing", [x(runs.steps) - 4, y(runs.baseline) - 5], { anchor: "end" }) +
    (highest > axis.domain[1] ? words(`↑ up to ${short(highest)}`, [x(0) + 6, top(y, 0)]) : "") +
    (live ? words(now, [x(0) + 6, top(y, 1)], { color: "var(--wit-1)" }) : "");
  return chart({
    title: `Training loss at rate ${short(runs.rates[i])}`, over,
    x: { domain: [0, runs.steps], label: "step (updates)" }, y: axis,
    alt: `Training loss over ${runs.steps} steps at rate ${short(runs.rates[i])}, ${runs.seeds.length} seeds: from ` +
      `${short(rows[0][2])} to ${short(rows.at(-1)[2])}${lost ? `; ${lost} diverged` : ""}.`,
  }, (x, y) => {
    const at = (column) => rows.map((row) => [x(row[0]), y(row[column])]);
    const mine = live ? live.losses.map((loss, k) => [x((k + 0.5) * runs.log_every), y(loss)]) : [];
    return know(runs, x, y, [0, runs.steps]) + band(at(3), at(1), "var(--wit-0)") +
      line(at(2), "var(--wit-0)", { width: 2.2 }) + line(mine, "var(--wit-1)", { width: 2.2, dash: "7 3" });
  });
}

function results(state, runs, i) {
  const axis = lossAxis(runs);
  const top = axis.domain[1];
  const live = showsLive(state.live, state.subject) && isNumber(state.live.held_out) ? state.live : null;
  const whole = runs.rates.map((_, j) => j).filter((j) => held(runs, j).length === runs.seeds.length);
  const rates = { domain: [runs.rates[0], runs.rates.at(-1)], log: true, label: "learning rate" };
  return chart({
    title: "Held-out loss after the run", x: rates, y: { ...axis, label: "held-out loss (nats)" },
    alt: "Held-out loss against learning rate: lowest near " +
      `${short(runs.rates[verdict(runs, i).best])}, higher on both sides.`,
    over: (x, y) => runs.rates.map((rate, j) => [rate, runs.held_out[j].some((value) => value === null)])
      .filter(([, gone]) => gone).map(([rate]) => cross([x(rate), y(top) + 8], "var(--wit-1)", 3.5)).join(""),
  }, (x, y) => {
    const at = (f) => whole.map((j) => [x(runs.rates[j]), y(Math.min(f(held(runs, j)), 10 * top))]);
    const middle = x(runs.rates[i]);
    const here = line([[middle, y(axis.domain[0])], [middle, y(top)]], "currentColor", { width: 1.5 });
    const seeds = held(runs, i).map((value) => dot([middle, y(value)], "var(--wit-0)", { hollow: true })).join("");
    const now = live ? dot([x(live.rate), y(live.held_out)], "var(--wit-1)", { radius: 5 }) : "";
    const range = band(at((values) => Math.max(...values)), at((values) => Math.min(...values)), "var(--wit-0)");
    return know(runs, x, y, rates.domain) + range + line(at(mean), "var(--wit-0)") + here + seeds + now;
  });
}

function outcome(runs, i) {
  const values = held(runs, i);
  const lost = runs.seeds.length - values.length;
  if (!values.length) return `in all ${lost} seeds the loss stopped being a number`;
  const [lowest, highest] = [Math.min(...values), Math.max(...values)].map((value) => short(value, 4));
  const upTo = highest === lowest ? "" : ` to ${figure("highest", highest)}`;
  const range = `held-out loss ${figure("lowest", lowest)}${upTo}`;
  if (!lost) return `${range} over ${values.length} seeds`;
  return `${range} in ${values.length} of ${runs.seeds.length} seeds, and no number in the other${lost > 1 ? "s" : ""}`;
}

// What the run in the kernel is doing, in words; nothing before the first one.
function liveWords({ live, data }) {
  if (live === null) {
    return "<p>In JupyterLab a button here trains the same model at this rate, now, in front of you.</p>";
  }
  if (!live.ended && !isNumber(live.step)) return "";
  if (live.ended === "failed") return `<p>The run failed: ${escape(live.message)}</p>`;
  const who = `Rate ${short(live.rate)}, seed ${live.seed}`;
  const result = isNumber(live.held_out) ? figure("live", short(live.held_out, 4)) : "no number";
  const ended = {
    finished: `finished: held-out loss ${result}`,
    diverged: `stopped after step ${live.step}: the loss is no number any more`,
    canceled: `canceled after step ${live.step}`,
  }[live.ended] ?? `training, step ${figure("step", String(live.step))} of ${live.steps} ` +
    `<progress value="${live.step}" max="${live.steps}"></progress>`;
  const other = data.subjects[live.subject]?.data === "characters" && live.edition !== data.edition
    ? " This Python carries another edition of the manual than the recorded runs read, so its losses lie a little " +
      "apart." : "";
  return `<p>${who}: ${ended}.${other}</p>`;
}

export function view(state) {
  const runs = state.data.subjects[state.subject];
  const i = nearest(runs.rates, state.rate);
  const { word, best } = verdict(runs, i);
  return {
    panels: [curves(state, runs, i), results(state, runs, i)],
    reading: `<p>Rate ${figure("rate", short(runs.rates[i]))} ${figure("verdict", word)}: ${outcome(runs, i)}; ` +
      `knowing nothing costs ${short(runs.baseline, 4)}, and the best recorded rate is ` +
      `${short(runs.rates[best])}. ${EXPLAINED[word]}</p>${liveWords(state)}`,
  };
}

// --- controls --------------------------------------------------------------------------------------------------------

const training = (live) => live !== null && isNumber(live.step) && !live.ended;

export function controls({ subject, rate, data, live }) {
  const subjects = data?.subjects ?? {};
  const stops = subjects[subject]?.rates ?? [rate];
  return [
    {
      kind: "select", key: "subject", label: "Model", value: subject, wide: true,
      options: Object.entries(subjects).map(([key, { title }]) => [key, title]),
    },
    { kind: "slider", key: "rate", label: "Learning rate", value: stops[nearest(stops, rate)], stops, wide: true },
    ...(live === null ? [] : [{ kind: "button", key: "train", label: training(live) ? "Cancel" : "Train now" }]),
  ];
}

const commands = {
  train: ({ model, state }) => model.send({ do: training(state.live) ? "cancel" : "train" }),
};

export default widget({ defaults, check, controls, view, commands });
