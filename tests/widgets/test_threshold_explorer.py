"""ThresholdExplorer against course_lib.metrics, on the recorded predictions and on data with ties and edges."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import metrics, recorded
from course_lib.widgets import ThresholdExplorer
from course_lib.widgets.base import run

NAME = "threshold_explorer"
RECORDING = recorded.load("review_predictions")
DATA = ThresholdExplorer().data
MODELS = list(DATA["models"])
SPLITS = ["validation", "test"]
THRESHOLDS = [0, *(hundredth / 100 for hundredth in range(1, 100)), 1]


def state(**change):
    return {"model": "TF-IDF", "split": "test", "threshold": 0.5, "share": 0.5, "miss": 1, "data": DATA, **change}


def real(model, split):
    """Labels and probabilities of the recording itself, seed 0."""
    return np.array(RECORDING["labels"][split]), np.array(RECORDING["models"][model][split][0])


def own(labels, scores, **change):
    """A state over one's own data, the same in both splits, under the share of positives that it has."""
    data = {"labels": dict.fromkeys(SPLITS, labels), "models": {"mine": dict.fromkeys(SPLITS, scores)}}
    share = min(max(sum(labels) / len(labels), 0.001), 0.999)
    return state(**{"model": "mine", "data": data, "share": share, **change})


def measured(given, thresholds):
    found = "thresholds.map((t) => measured(setting(state, state.split), cutAt(setting(state, state.split), t)))"
    return run(NAME, found, state=given, thresholds=list(thresholds))


def areas(given):
    return run(NAME, "areas(setting(state, state.split))", state=given)


def best(given, goal):
    """The threshold and the value there, as course_lib's best_threshold gives them."""
    found = f"(() => {{ const set = setting(state, state.split); const cut = best(set).{goal};"
    cut, values = run(NAME, found + " return [cut, measured(set, cut)]; })()", state=given)
    return (math.inf if cut["threshold"] is None else cut["threshold"]), values[goal]


def f1(true, called):
    return metrics.precision_recall_f1(true, called).f1


def cost(miss):
    return lambda true, called: -float(((called == 1) & (true == 0)).sum() + miss * ((called == 0) & (true == 1)).sum())


EXAMPLES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 250_000, 500_000, 999_999])), max_size=14).map(
    lambda rows: ([1, 0] + [label for label, _ in rows], [500_000, 500_000] + [score for _, score in rows])
)  # both classes, many ties


# --- the arithmetic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("split", SPLITS)
def test_counts_and_scores_equal_the_library_at_every_place_of_the_slider(model, split):
    true, values = real(model, split)
    for threshold, ours in zip(THRESHOLDS, measured(state(model=model, split=split), THRESHOLDS), strict=True):
        expected = metrics.at_threshold(true, values, threshold)
        assert [ours[name] for name in ("tp", "fp", "tn", "fn")] == list(expected[1:5])
        assert ours["recall"] == pytest.approx(expected.recall)
        assert ours["f1"] == pytest.approx(expected.f1)
        assert ours["accuracy"] == pytest.approx(metrics.accuracy(true, (values >= threshold).astype(int)))
        if expected.true_positives + expected.false_positives:
            assert ours["precision"] == pytest.approx(expected.precision)
        else:
            assert ours["precision"] is None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("split", SPLITS)
def test_areas_and_best_thresholds_equal_the_library(model, split):
    true, values = real(model, split)
    given = state(model=model, split=split, miss=3)
    assert areas(given)["roc"] == pytest.approx(metrics.roc_auc(true, values), rel=1e-12)
    assert areas(given)["average"] == pytest.approx(metrics.average_precision(true, values), rel=1e-12)
    assert best(given, "f1") == pytest.approx(metrics.best_threshold(true, values, f1))
    threshold, value = metrics.best_threshold(true, values, cost(3))
    assert best(given, "cost") == pytest.approx((threshold, -value * 1000 / len(true)))


@given(examples=EXAMPLES, miss=st.sampled_from([0, 0.5, 1, 3, 1000]))
@settings(deadline=None, max_examples=150)
def test_ties_and_edges_equal_the_library(examples, miss):
    labels, scores = examples
    true, values = np.array(labels), np.array(scores) / 1e6
    given = own(labels, scores, miss=miss)
    thresholds = [0, 1e-6, 0.25, 0.4999999, 0.5, 0.999999, 1]
    for threshold, ours in zip(thresholds, measured(given, thresholds), strict=True):
        expected = metrics.at_threshold(true, values, threshold)
        assert [ours[name] for name in ("tp", "fp", "tn", "fn")] == list(expected[1:5])
        assert (ours["recall"], ours["f1"]) == pytest.approx((expected.recall, expected.f1))
        called = expected.true_positives + expected.false_positives > 0
        assert ours["precision"] == (pytest.approx(expected.precision) if called else None)
    assert areas(given)["roc"] == pytest.approx(metrics.roc_auc(true, values))
    assert areas(given)["average"] == pytest.approx(metrics.average_precision(true, values))
    assert best(given, "f1") == pytest.approx(metrics.best_threshold(true, values, f1))
    threshold, value = metrics.best_threshold(true, values, cost(miss))
    assert best(given, "cost") == pytest.approx((threshold, -value * 1000 / len(true)))


@pytest.mark.parametrize(("threshold", "counts"), [(0, [500, 500, 0, 0]), (1, [0, 0, 500, 500])])
def test_at_the_ends_all_or_none_are_called_positive(threshold, counts):
    (ours,) = measured(state(model="MiniLM"), [threshold])
    assert [ours[name] for name in ("tp", "fp", "tn", "fn")] == counts
    assert (ours["precision"] is None) == (threshold == 1)


@pytest.mark.parametrize("successes", [0, 1, 37, 850, 999, 1000])
def test_interval_is_wilsons(successes):
    assert run(NAME, "wilson(k, 1000)", k=successes) == pytest.approx(metrics.wilson_interval(successes, 1000))


@pytest.mark.parametrize("copies", [2, 9])
def test_a_share_of_positives_is_what_copies_of_the_negatives_would_give(copies):
    true, values = real("encoder", "test")
    rows = np.concatenate([np.flatnonzero(true), *[np.flatnonzero(true == 0)] * copies])
    expected = metrics.at_threshold(true[rows], values[rows], 0.7)
    given = state(model="encoder", share=1 / (1 + copies), miss=2)
    (ours,) = measured(given, [0.7])
    for name in ("precision", "recall", "f1"):
        assert ours[name] == pytest.approx(getattr(expected, name))
    assert ours["accuracy"] == pytest.approx(metrics.accuracy(true[rows], (values[rows] >= 0.7).astype(int)))
    errors = expected.false_positives + 2 * expected.false_negatives
    assert ours["cost"] == pytest.approx(1000 * errors / len(rows))
    assert sum(ours[name] for name in ("tp", "fp", "tn", "fn")) == pytest.approx(1000)
    assert areas(given)["average"] == pytest.approx(metrics.average_precision(true[rows], values[rows]))
    assert areas(given)["roc"] == pytest.approx(metrics.roc_auc(true, values))
    assert best(given, "f1") == pytest.approx(metrics.best_threshold(true[rows], values[rows], f1))


def test_a_rare_class_costs_precision_and_no_recall():
    (half,), (rare,) = (measured(state(share=share), [0.5]) for share in (0.5, 0.01))
    assert rare["recall"] == half["recall"]
    assert rare["falseAlarms"] == half["falseAlarms"]
    assert half["precision"] > 0.8
    assert rare["precision"] < 0.1


# --- the picture and what is read beside it ---------------------------------------------------------------------------


def picture(**change):
    return run(NAME, "view(state)", state=state(**change))


def value(drawn, name):
    return re.search(f'data-value="{re.escape(name)}">([^<]*)<', drawn["reading"])[1]


def test_the_reading_shows_the_numbers_of_the_library():
    true, values = real("MiniLM", "validation")
    drawn = picture(model="MiniLM", split="validation", threshold=0.3)
    expected = metrics.at_threshold(true, values, 0.3)
    names = {"tp": "true_positives", "fp": "false_positives", "tn": "true_negatives", "fn": "false_negatives"}
    for short, name in names.items():
        assert value(drawn, short) == str(getattr(expected, name))
    for name in ("precision", "recall", "f1"):
        assert value(drawn, name) == f"{getattr(expected, name):.3f}"
    right = expected.true_positives + expected.true_negatives
    low, high = metrics.wilson_interval(right, 500)
    assert (value(drawn, "low"), value(drawn, "high")) == (f"{low:.3f}", f"{high:.3f}")
    assert value(drawn, "cost") == f"{2 * (500 - right)}"  # 500 reviews, told for 1,000
    assert "of 500" in drawn["reading"]


def test_what_is_chosen_on_validation_is_judged_on_test():
    for split in SPLITS:
        drawn = picture(model="encoder", split=split, miss=5)
        for goal, metric, text in (("f1", f1, "{:.3f}"), ("cost", cost(5), "{:.4g}")):
            threshold, seen = metrics.best_threshold(*real("encoder", "validation"), metric)
            true, values = real("encoder", "test")
            later = metric(true, (values >= threshold).astype(int))
            assert float(value(drawn, f"{goal} threshold")) == pytest.approx(threshold, abs=5e-4)
            assert value(drawn, f"{goal} validation") == text.format(abs(seen) * (2 if goal == "cost" else 1))
            assert value(drawn, f"{goal} test") == text.format(abs(later))


def test_nothing_called_positive_leaves_precision_without_a_value():
    drawn = picture(threshold=1)
    assert value(drawn, "precision") == "not defined"
    assert "nothing is called positive" in drawn["reading"]
    assert (value(drawn, "recall"), value(drawn, "f1")) == ("0.000", "0.000")
    assert "Precision not defined" in drawn["panels"][1]
    assert "<circle" not in drawn["panels"][1]  # no point on the curve
    assert "<circle" in drawn["panels"][2]
    assert "not defined" not in picture(threshold=0.98)["reading"]


def test_another_share_counts_for_1000_and_has_no_interval():
    drawn = picture(share=0.1, split="validation")
    assert "per 1,000" in drawn["reading"]
    assert 'data-value="low"' not in drawn["reading"]
    assert float(value(drawn, "tp")) + float(value(drawn, "fn")) == pytest.approx(100, abs=0.2)
    (ours,) = measured(state(share=0.1, split="validation"), [0.5])
    assert value(drawn, "precision") == f"{ours['precision']:.3f}"


def test_the_histogram_has_the_counts_in_its_corners():
    histogram, *curves = picture(threshold=0.5)["panels"]
    true, values = real("TF-IDF", "test")
    counts = metrics.at_threshold(true, values, 0.5)
    corners = {
        ("start", "up"): f"missed {counts.false_negatives}",
        ("end", "up"): f"found {counts.true_positives}",
        ("start", "down"): f"rejected {counts.true_negatives}",
        ("end", "down"): f"false alarms {counts.false_positives}",
    }
    found = re.findall(r'<text x="[^"]*" y="([^"]*)" text-anchor="(\w+)" style="[^"]*">([a-z ]+ \d+)</text>', histogram)
    assert {(anchor, "up" if float(y) < 100 else "down"): text for y, anchor, text in found} == corners
    assert len(re.findall(r'<rect [^>]*stroke="var\(--wit-[01]\)"/>', histogram)) == 40
    assert f"Precision {counts.precision:.3f} at recall {counts.recall:.3f}" in curves[0]


def test_where_all_is_best_left_alone_the_threshold_lies_above_all_scores():
    given = own([1, 0, 0], [0, 900_000, 999_999], miss=0.1)
    drawn = run(NAME, "view(state)", state=given)
    assert value(drawn, "cost threshold") == "above all"
    assert run(NAME, PRESSED.format("cost"), state=given) == {"threshold": 1}


PRESSED = "(() => {{ let got; exported.parts.commands.{}({{ state, set: (patch) => (got = patch) }}); return got; }})()"


@pytest.mark.parametrize("split", SPLITS)
def test_buttons_go_to_the_best_threshold_of_validation(split):
    true, values = real("MiniLM", "validation")
    for goal, metric in (("f1", f1), ("cost", cost(1))):
        pressed = run(NAME, PRESSED.format(goal), state=state(model="MiniLM", split=split))
        assert pressed == {"threshold": metrics.best_threshold(true, values, metric).threshold}


def test_a_tap_on_the_histogram_sets_the_threshold_and_on_a_curve_nothing():
    tap = "exported.parts.pointed({ set: (patch) => (got = patch) }, panel, 0.377, 0.5);"
    tapped = run(NAME, f"[0, 1, 2].map((panel) => {{ let got = null; {tap} return got; }})")
    assert tapped == [{"threshold": 0.38}, None, None]


def test_every_score_goes_into_the_page_as_it_was_recorded():
    assert DATA["labels"] == RECORDING["labels"]
    for model in MODELS:
        for split in SPLITS:
            _, values = real(model, split)
            assert [score / 1e6 for score in DATA["models"][model][split]] == values.tolist()


def test_without_the_recording_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="got 'review_predictions'"):
        ThresholdExplorer()
    assert ThresholdExplorer(data=DATA).to_html()


@given(
    examples=EXAMPLES,
    threshold=st.floats(0, 1),
    share=st.floats(0.001, 0.999),
    miss=st.floats(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_every_state_it_accepts_can_be_drawn(examples, threshold, share, miss):
    given = own(*examples, threshold=threshold, share=share, miss=miss)
    html = run(NAME, "markup(exported.parts, state)", state=given)
    assert 'role="alert" hidden' in html
    assert not re.search(r"NaN|Infinity|null|not a number|undefined", html)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1], [1, 2]),  # one class alone has no curve
        ([0, 1], [1]),
        ([0, 1], [0, 1_000_000]),  # at threshold 1 nothing may be called positive
        ([0, 1], [0.5, 1]),
        ([0, 1], [-1, 1]),
        ([0, 2], [1, 1]),
        ([], []),
        ([0, 1], "01"),
    ],
)
def test_data_that_cannot_be_drawn_is_refused(labels, scores):
    data = {"labels": dict.fromkeys(SPLITS, labels), "models": {"mine": dict.fromkeys(SPLITS, scores)}}
    (problem,) = run(NAME, "check(state)", state=state(model="mine", data=data))
    assert problem.startswith("data: expected the predictions of course_lib.recorded.review_predictions")
