// ThresholdExplorer: where a threshold cuts the scores of a classifier, and what it costs (chapter 10).
import {
  chart, dot, figure, grouped, isWhole, line, once, oneOf, outside, short, widget, words,
} from "./shared.js";

export const defaults = {
  model: "TF-IDF",
  split: "test",
  threshold: 0.5,
  share: 0.5, // of positives among the reviews to come
  miss: 1, // of a positive that is not found, in false alarms
  data: null, // {labels: {validation, test}, models: {name: {validation, test}}}; scores in whole millionths
};

const SPLITS = ["validation", "test"];
const MILLION = 1e6;

export function check({ model, split, threshold, share, miss, data }) {
  if (!isDrawable(data)) {
    return ["data: expected the predictions of course_lib.recorded.review_predictions, got none that can be drawn."];
  }
  return [
    ...oneOf("model", model, Object.keys(data.models)),
    ...oneOf("split", split, SPLITS),
    ...outside("threshold", threshold, 0, 1),
    ...outside("share", share, 0.001, 0.999),
    ...outside("miss", miss, 0, 1000),
  ];
}

// Each split holds both classes, and a score below 1 for each label: at threshold 1 nothing is called positive.
function isDrawable(data) {
  const models = Object.values(data?.models ?? {});
  return models.length > 0 && SPLITS.every((split) => {
    const labels = data.labels?.[split];
    if (!Array.isArray(labels) || ![0, 1].every((label) => labels.includes(label))) return false;
    const isScore = (score) => isWhole(score) && score >= 0 && score < MILLION;
    return labels.every((label) => label === 0 || label === 1) && models.every((scores) =>
      Array.isArray(scores?.[split]) && scores[split].length === labels.length && scores[split].every(isScore));
  });
}

// --- the arithmetic of course_lib.metrics ----------------------------------------------------------------------------

// All thresholds that differ, the highest first, with the positives (hits) and negatives (alarms) that reach each.
const cutsOf = once((scores, labels) => {
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]);
  const cuts = [{ threshold: Infinity, hits: 0, alarms: 0 }];
  let [hits, alarms] = [0, 0];
  order.forEach((i, n) => {
    if (labels[i]) hits += 1;
    else alarms += 1;
    if (scores[order[n + 1]] !== scores[i]) cuts.push({ threshold: scores[i] / MILLION, hits, alarms });
  });
  return cuts;
});

const latest = {}; // of each split; while only the threshold moves, nothing else is computed again

// A split under a share of positives. Its own share leaves the counts as they are; another one counts per 1,000.
export function setting(state, split) {
  const asked = JSON.stringify([state.model, state.share, state.miss]);
  if (latest[split]?.data !== state.data || latest[split].asked !== asked) {
    latest[split] = { data: state.data, asked, made: weighed(state, split) };
  }
  return latest[split].made;
}

function weighed({ model, share, miss, data }, split) {
  const cuts = cutsOf(data.models[model][split], data.labels[split]);
  const { hits: positives, alarms: negatives } = cuts.at(-1);
  const counted = share === positives / (positives + negatives);
  const total = counted ? positives + negatives : 1000;
  const weights = counted ? [1, 1] : [(share * total) / positives, ((1 - share) * total) / negatives];
  return { cuts, positives, negatives, counted, total, weights, miss };
}

const cutAt = ({ cuts }, threshold) => cuts.findLast((cut) => cut.threshold >= threshold);

export function measured({ positives, negatives, total, weights: [a, b], miss }, { hits, alarms }) {
  const [tp, fp, fn, tn] = [a * hits, b * alarms, a * (positives - hits), b * (negatives - alarms)];
  return {
    tp, fp, fn, tn,
    accuracy: (tp + tn) / total,
    precision: hits + alarms ? tp / (tp + fp) : null, // nothing to divide by
    recall: hits / positives,
    f1: (2 * tp) / (2 * tp + fp + fn),
    falseAlarms: alarms / negatives,
    cost: ((fp + miss * fn) * 1000) / total,
  };
}

const everywhere = once((set) => set.cuts.map((cut) => measured(set, cut)));

// For each goal the cut that serves it best, of equals the one with the highest threshold.
const GOALS = { f1: ({ f1 }) => f1, cost: ({ cost }) => -cost };

export const best = once((set) => Object.fromEntries(Object.entries(GOALS).map(([goal, score]) => {
  const values = everywhere(set).map(score);
  return [goal, set.cuts[values.indexOf(values.reduce((most, value) => Math.max(most, value)))]];
})));

// Area under the ROC curve by trapezoids, and precision averaged over the positives as they are found.
export const areas = once((set) => {
  let [roc, average] = [0, 0];
  everywhere(set).slice(1).forEach((here, n) => {
    const before = everywhere(set)[n];
    roc += ((here.falseAlarms - before.falseAlarms) * (here.recall + before.recall)) / 2;
    average += (here.recall - before.recall) * here.precision;
  });
  return { roc, average };
});

// Wilson's interval, 95%, of a share that was counted.
export function wilson(successes, n) {
  const z = 1.959963984540054;
  const middle = (successes + z ** 2 / 2) / (n + z ** 2);
  const margin = (z / (n + z ** 2)) * Math.sqrt((successes * (n - successes)) / n + z ** 2 / 4);
  return [successes ? middle - margin : 0, successes < n ? middle + margin : 1];
}

// --- the picture -----------------------------------------------------------------------------------------------------

const BINS = 20;
const three = (value) => value.toFixed(3);
const percent = (share) => `${short(100 * share)}%`;
const exact = (threshold) => short(threshold, threshold > 0.99 ? 6 : 3); // 0.999998 is not 1
const amount = ({ counted }, count) => (counted ? String(count) : short(count));

// Positives above the line in the middle and negatives below it, so that the four counts lie in four corners.
function histogram(state, set, now) {
  const { labels, models } = state.data;
  const bars = [0, 1].map(() => Array(BINS).fill(0));
  const truth = labels[state.split];
  models[state.model][state.split].forEach((score, i) => {
    bars[truth[i]][Math.floor((score * BINS) / MILLION)] += set.weights[1 - truth[i]];
  });
  const most = Math.sqrt(Math.max(...bars.flat())); // the root keeps a bar of 5 beside one of 500 in sight
  const y = { domain: [-1.35 * most, 1.35 * most], ...rootTicks(most), label: "reviews (root scale)", room: 4 };
  const counts = ["fn", "tp", "tn", "fp"].map((name) => amount(set, now[name]));
  const inside = (toX, toY) => {
    const cut = toX(state.threshold);
    const bar = (label) => (count, i) => {
      const [low, high] = [toY(0), toY(label ? Math.sqrt(count) : -Math.sqrt(count))];
      const look = label ? 'fill="var(--wit-0)" fill-opacity="0.75"' : 'fill="var(--wit-1)" fill-opacity="0.15"';
      return `<rect x="${tenth(toX(i / BINS) + 1)}" y="${tenth(Math.min(low, high))}" ` +
        `width="${tenth(toX(1 / BINS) - toX(0) - 2)}" height="${tenth(Math.abs(high - low))}" ${look} ` +
        `stroke="var(--wit-${label ? 0 : 1})"/>`;
    };
    return `<rect x="${tenth(cut)}" y="0" width="${tenth(Math.max(0, toX(1) - cut))}" height="400" ` +
      'fill="currentColor" fill-opacity="0.07"/>' + bars[1].map(bar(1)).join("") + bars[0].map(bar(0)).join("") +
      line([[toX(0), toY(0)], [toX(1), toY(0)]], "currentColor", { width: 1 }) +
      line([[cut, toY(1.35 * most)], [cut, toY(-1.35 * most)]], "currentColor", { width: 2 });
  };
  const corners = [["missed", 0, 1], ["found", 1, 1], ["rejected", 0, -1], ["false alarms", 1, -1]];
  const over = (toX, toY) => '<g stroke="var(--wit-paper)" stroke-width="3" paint-order="stroke">' +
    corners.map(([name, right, up], n) => words(`${name} ${counts[n]}`,
      [toX(right) + (right ? -5 : 5), toY(1.35 * up * most) + (up > 0 ? 15 : -7)], { anchor: right ? "end" : "start" }))
      .join("") + "</g>";
  return chart({
    title: "Scores: positives up, negatives down", over, y, height: 230,
    x: { domain: [0, 1], label: "score; from the line on: called positive" },
    alt: `Scores of ${state.model} on ${state.split}, threshold ${exact(state.threshold)}: of the positives ` +
      `${counts[1]} found and ${counts[0]} missed, of the negatives ${counts[3]} false alarms and ${counts[2]} ` +
      "rightly rejected.",
  }, inside);
}

const tenth = (number) => Math.round(number * 10) / 10;

// Counts of 1, 2, 5 times a power of ten on a scale of roots, as far as they fit, on both sides of 0.
function rootTicks(most) {
  const round = Math.max(...[0.01, 0.1, 1, 10, 100, 1000].flatMap((power) => [power, 2 * power, 5 * power])
    .filter((count) => count <= most ** 2));
  const roots = [Math.sqrt(round), Math.sqrt(round / 5)];
  return { ticks: [...roots, 0, ...roots.map((root) => -root)], format: (root) => short(root ** 2) };
}

const SMALL = { width: 190, height: 200 };
const HALVES = { domain: [0, 1], ticks: [0, 0.5, 1] };

// A curve through [x, y] shares, without the points that a screen cannot tell apart, and where it is now.
function small({ title, alt, x, y, points, guide, here }) {
  const axes = { x: { ...HALVES, label: x }, y: { ...HALVES, label: y, room: 2 } };
  const at = (toX, toY) => ([px, py]) => [toX(px), toY(py)];
  return chart({
    title, alt, ...axes, ...SMALL,
    over: (toX, toY) => (here ? dot(at(toX, toY)(here), "currentColor", { radius: 5 }) : ""),
  }, (toX, toY) => line(guide.map(at(toX, toY)), "currentColor", { dash: "3 4", width: 1.5, opacity: 0.7 }) +
    line(apart(points.map(at(toX, toY))), "var(--wit-0)"));
}

function apart(points) {
  const kept = [points[0]];
  for (const [x, y] of points) if (Math.hypot(x - kept.at(-1)[0], y - kept.at(-1)[1]) > 0.5) kept.push([x, y]);
  return [...kept, points.at(-1)];
}

function curves(state, set, now) {
  const all = everywhere(set);
  const share = (set.weights[0] * set.positives) / set.total;
  const precision = now.precision === null ? "not defined" : three(now.precision);
  return [
    small({
      title: "Precision, recall", x: "recall", y: "precision", guide: [[0, share], [1, share]],
      points: all.slice(1).map((one) => [one.recall, one.precision]),
      here: now.precision === null ? null : [now.recall, now.precision],
      alt: `Precision ${precision} at recall ${three(now.recall)}; dashed: the share of positives, ${percent(share)}.`,
    }),
    small({
      title: "ROC", x: "false positive rate", y: "recall", guide: [[0, 0], [1, 1]],
      points: all.map((one) => [one.falseAlarms, one.recall]), here: [now.falseAlarms, now.recall],
      alt: `Recall ${three(now.recall)} at a false positive rate of ${three(now.falseAlarms)}; dashed: no order.`,
    }),
  ];
}

// --- the reading -----------------------------------------------------------------------------------------------------

// The confusion matrix with its corners where the histogram has them.
function confusion(set, now) {
  const cell = (name, text) => `<td>${figure(name, amount(set, now[name]))} ${text}</td>`;
  const [up, down] = [set.weights[0] * set.positives, set.weights[1] * set.negatives].map((sum) => amount(set, sum));
  return `<table style="font-size:0.9em"><thead><tr><td>${set.counted ? "of" : "per"} ${grouped(set.total)}</td>` +
    '<th scope="col">called negative</th>' +
    '<th scope="col">called positive</th></tr></thead>' +
    `<tbody><tr><th scope="row">${up} positives</th>${cell("fn", "missed")}${cell("tp", "found")}</tr>` +
    `<tr><th scope="row">${down} negatives</th>${cell("tn", "rightly rejected")}${cell("fp", "false alarms")}</tr>` +
    "</tbody></table>";
}

function scores(set, now) {
  const [low, high] = wilson(now.tp + now.tn, set.total);
  const interval = set.counted ? ` (95% interval ${figure("low", three(low))} to ${figure("high", three(high))})` : "";
  const precision = now.precision === null
    ? `precision ${figure("precision", "not defined")}, for nothing is called positive` +
      " and there is nothing to divide by"
    : `precision ${figure("precision", three(now.precision))}`;
  return `accuracy ${figure("accuracy", three(now.accuracy))}${interval}, ${precision}, ` +
    `recall ${figure("recall", three(now.recall))}, F1 ${figure("f1", three(now.f1))}`;
}

// What is best on validation, and what that threshold gives on the other split.
function chosen(state) {
  const [validation, test] = SPLITS.map((split) => setting(state, split));
  const row = (goal, title, text) => {
    const { threshold } = best(validation)[goal];
    const [seen, later] = [validation, test].map((set) => measured(set, cutAt(set, threshold))[goal]);
    const where = threshold === Infinity ? "above all" : exact(threshold);
    return `<tr><th scope="row">${title}</th><td>${figure(`${goal} threshold`, where)}</td>` +
      `<td>${figure(`${goal} validation`, text(seen))}</td><td>${figure(`${goal} test`, text(later))}</td></tr>`;
  };
  return '<p>Chosen on validation:</p><table style="font-size:0.9em"><thead><tr><td></td>' +
    '<th scope="col">threshold</th><th scope="col">validation</th><th scope="col">test</th></tr></thead>' +
    `<tbody>${row("f1", "highest F1", three)}` +
    `${row("cost", "lowest cost", (cost) => short(cost, 4))}</tbody></table>`;
}

export function view(state) {
  const set = setting(state, state.split);
  const now = measured(set, cutAt(set, state.threshold));
  const { roc, average } = areas(set);
  return {
    panels: [histogram(state, set, now), ...curves(state, set, now)],
    reading: `${confusion(set, now)}<p>At ${figure("threshold", exact(state.threshold))} ${scores(set, now)}. ` +
      `Cost ${figure("cost", short(now.cost, 4))} for 1,000 reviews: ` +
      `1 a false alarm, ${short(state.miss)} a miss.</p>` +
      `<p>Over all thresholds: area under ROC ${figure("roc", three(roc))}, ` +
      `average precision ${figure("average", three(average))}.</p>${chosen(state)}`,
  };
}

// --- controls --------------------------------------------------------------------------------------------------------

const SHARES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5];
const COSTS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

export function controls({ model, split, threshold, share, miss, data }) {
  const size = (name) => (data?.labels?.[name]?.length ? `: ${grouped(data.labels[name].length)}` : "");
  return [
    {
      kind: "slider", key: "threshold", label: "Threshold", value: threshold, min: 0, max: 1, step: 0.01, wide: true,
      format: exact,
    },
    {
      kind: "select", key: "model", label: "Model", value: model,
      options: Object.keys(data?.models ?? {}).map((name) => [name, name]),
    },
    {
      kind: "select", key: "split", label: "Reviews", value: split,
      options: SPLITS.map((name) => [name, name + size(name)]),
    },
    { kind: "slider", key: "share", label: "Share of positives", value: share, stops: SHARES, format: percent },
    { kind: "slider", key: "miss", label: "Cost of a miss", value: miss, stops: COSTS },
    { kind: "button", key: "f1", label: "To highest F1" },
    { kind: "button", key: "cost", label: "To lowest cost" },
  ];
}

const to = (goal) => ({ state, set }) =>
  set({ threshold: Math.min(1, best(setting(state, "validation"))[goal].threshold) });

// A tap on the histogram sets the threshold.
function pointed({ set }, panel, share) {
  if (panel === 0) set({ threshold: Math.round(100 * share) / 100 });
}

export default widget({ defaults, check, controls, view, commands: { f1: to("f1"), cost: to("cost") }, pointed });
