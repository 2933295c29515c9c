"""Curves and thresholds against scikit-learn and scipy, at their edges, and for what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from course_lib import metrics

# Few different scores, so many ties; the first two fix both classes.
scored = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3).map(lambda k: k / 4)), max_size=40).map(
    lambda pairs: [*zip(*[(0, 0.25), (1, 0.25), *pairs], strict=True)]
)


def make_scores(n=300, seed=0, digits=8):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, size=n)
    return targets, np.round(targets + rng.normal(size=n), digits)


def f1(targets, predictions):
    return metrics.precision_recall_f1(targets, predictions).f1


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_equals_scikit_learn(digits):
    check_against_scikit_learn(*make_scores(digits=digits))


@given(scored)
def test_any_scores_equal_scikit_learn(pair):
    check_against_scikit_learn(np.array(pair[0]), np.array(pair[1]))


def check_against_scikit_learn(targets, scores):
    for ours, theirs in zip(
        metrics.roc_curve(targets, scores), sk.roc_curve(targets, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for ours, theirs in zip(
        metrics.precision_recall_curve(targets, scores), sk.precision_recall_curve(targets, scores), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert metrics.roc_auc(targets, scores) == pytest.approx(sk.roc_auc_score(targets, scores), rel=1e-12)
    theirs = sk.average_precision_score(targets, scores)
    assert metrics.average_precision(targets, scores) == pytest.approx(theirs, rel=1e-12)


@given(scored)
def test_auc_is_the_share_of_pairs_in_order(pair):
    targets, scores = np.array(pair[0]), np.array(pair[1])
    u = stats.mannwhitneyu(scores[targets == 1], scores[targets == 0], method="asymptotic").statistic
    pairs = (targets == 1).sum() * (targets == 0).sum()
    assert metrics.roc_auc(targets, scores) == pytest.approx(u / pairs, abs=1e-12)
    assert metrics.roc_auc(targets, -scores) == pytest.approx(1 - u / pairs, abs=1e-12)


@given(scored, st.floats(-1.5, 1.5))
def test_any_threshold_equals_scikit_learn(pair, threshold):
    targets, scores = np.array(pair[0]), np.array(pair[1])
    at = metrics.at_threshold(targets, scores, threshold)
    called = scores >= threshold
    counts = [at.true_negatives, at.false_positives, at.false_negatives, at.true_positives]
    assert counts == sk.confusion_matrix(targets, called, labels=[0, 1]).ravel().tolist()
    theirs = sk.precision_recall_fscore_support(targets, called, average="binary", zero_division=0)
    assert (at.precision, at.recall, at.f1) == pytest.approx(theirs[:3])


@given(scored)
@pytest.mark.parametrize("metric", [metrics.accuracy, f1])
def test_best_threshold_beats_every_other(metric, pair):
    targets, scores = np.array(pair[0]), np.array(pair[1])
    threshold, value = metrics.best_threshold(targets, scores, metric)
    assert value == metric(targets, scores >= threshold)
    for other in [*np.linspace(-1, 1, 33), math.inf]:
        reached = metric(targets, scores >= other)
        assert reached <= value
        assert reached < value or not other > threshold or not ((scores >= threshold) != (scores >= other)).any()


def test_by_hand():
    targets, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    false_alarms, hits, thresholds = metrics.roc_curve(targets, scores)
    assert false_alarms.tolist() == [0, 0, 0.5, 0.5, 1]
    assert hits.tolist() == [0, 0.5, 0.5, 1, 1]
    assert thresholds.tolist() == [math.inf, 0.8, 0.4, 0.35, 0.1]
    assert metrics.roc_auc(targets, scores) == 0.75
    assert metrics.average_precision(targets, scores) == pytest.approx(0.5 + 0.5 * 2 / 3)
    at = metrics.at_threshold(targets, scores, 0.35)
    assert at == (0.35, 2, 1, 1, 0, pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert metrics.best_threshold(targets, scores) == (0.8, 0.75)  # 0.35 is as good; the highest is taken
    assert metrics.best_threshold(targets, scores, f1) == (0.35, pytest.approx(0.8))


def test_ends():
    targets, scores = make_scores(50)
    nothing, everything = (metrics.at_threshold(targets, scores, end) for end in (math.inf, -math.inf))
    assert (nothing.true_positives, nothing.false_positives, nothing.precision, nothing.f1) == (0, 0, 0.0, 0.0)
    assert (everything.true_negatives, everything.false_negatives, everything.recall) == (0, 0, 1.0)
    assert metrics.roc_auc([0, 1], [5, 5]) == 0.5
    assert metrics.roc_auc([0, 1], [-1e308, 1e308]) == 1.0


def test_one_class_has_counts_but_no_curve():
    assert metrics.at_threshold([0, 0], [0.2, 0.7], 0.5)[1:] == (0, 1, 1, 0, 0.0, 0.0, 0.0)
    assert metrics.best_threshold([0, 0], [0.2, 0.7]) == (math.inf, 1.0)
    assert metrics.best_threshold([1, 1], [0.2, 0.7]) == (0.2, 1.0)


def test_kinds_of_input():
    targets, scores = torch.tensor([0, 1, 0, 1]), torch.tensor([0.5, 0.25, 0.25, 0.75], requires_grad=True)
    assert metrics.roc_auc(targets, scores) == metrics.roc_auc(targets.tolist(), scores.tolist())
    assert metrics.roc_auc(targets == 1, scores.bfloat16()) == metrics.roc_auc(targets, scores)
    assert metrics.at_threshold(targets, scores, 0.25).true_positives == 2
    numbers = [metrics.roc_auc(targets, scores), metrics.average_precision(targets, scores)]
    numbers += [*metrics.best_threshold(targets, scores), metrics.at_threshold(targets, scores, 1).threshold]
    assert {type(number) for number in numbers} == {float}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "targets must hold one label"),
        (([0, 1], [0.5]), r"scores must be one number a target, \(2,\), got shape \(1,\)"),
        (([0, 1], [[0.5, 0.5], [0.5, 0.5]]), r"got shape \(2, 2\)"),
        (([0, 2], [0.1, 0.5]), r"targets must be 0 or 1, got 2; make them \(targets == positive\)"),
        (([-1, 1], [0.1, 0.5]), "targets must be classes from 0, got -1"),
        (([0, 1], [0.1, math.nan]), "scores must be finite numbers, got nan"),
        (([0, 1], [0.1, math.inf]), "scores must be finite numbers, got inf"),
    ],
)
@pytest.mark.parametrize(
    "function", [metrics.roc_curve, metrics.roc_auc, metrics.average_precision, metrics.best_threshold]
)
def test_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(
    "function", [metrics.roc_curve, metrics.roc_auc, metrics.precision_recall_curve, metrics.average_precision]
)
def test_one_class_refused(function, label):
    with pytest.raises(ValueError, match=f"targets must hold both classes, 0 and 1, got only {label}"):
        function([label, label], [0.1, 0.2])


def test_nan_refused():
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        metrics.at_threshold([0, 1], [0.1, 0.2], math.nan)
    with pytest.raises(ValueError, match="metric must return a number, got nan at threshold inf"):
        metrics.best_threshold([0, 1], [0.1, 0.2], lambda true, predicted: math.nan)
