"""Metrics against scikit-learn and scipy, at their edges, and for what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from course_lib import metrics
from course_lib.metrics import Interval

AVERAGES = ["macro", "weighted", "micro", None]
# The errors of training-output-explained.md's first epoch: 28 of one kind, 144 of the other, 500 reviews of each class.
SOURCE_1 = [0] * 500 + [1] * 500, [0] * 472 + [1] * 28 + [1] * 356 + [0] * 144


def make_labels(n_classes, n=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(n_classes, size=n), rng.integers(n_classes, size=n)


def sklearn_scores(targets, predictions, average, zero_division=0.0, **settings):
    scores = sk.precision_recall_fscore_support(
        targets, predictions, average=average, zero_division=zero_division, **settings
    )
    return scores[:3]


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_counts_equal_scikit_learn(n_classes):
    targets, predictions = make_labels(n_classes)
    assert metrics.accuracy(targets, predictions) == sk.accuracy_score(targets, predictions)
    assert np.array_equal(metrics.confusion_matrix(targets, predictions), sk.confusion_matrix(targets, predictions))


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("average", AVERAGES)
def test_averages_equal_scikit_learn(n_classes, average):
    targets, predictions = make_labels(n_classes)
    ours = metrics.precision_recall_f1(targets, predictions, average=average)
    np.testing.assert_allclose(ours, sklearn_scores(targets, predictions, average), rtol=1e-12)


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_equals_scikit_learn(positive):
    targets, predictions = make_labels(2)
    ours = metrics.precision_recall_f1(targets, predictions, positive=positive)
    theirs = sklearn_scores(targets, predictions, "binary", pos_label=positive)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(pairs=labels, average=st.sampled_from(AVERAGES), zero_division=st.sampled_from([0.0, 1.0]))
def test_any_labels_equal_scikit_learn(pairs, average, zero_division):
    targets, predictions = zip(*pairs, strict=True)
    ours = metrics.precision_recall_f1(targets, predictions, average=average, zero_division=zero_division)
    theirs = sklearn_scores(targets, predictions, average, zero_division)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [0, 1, 0]])
@pytest.mark.parametrize("predictions", [[0, 0, 0], [1, 1, 1]])
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
def test_constant_answers_equal_scikit_learn(targets, predictions, zero_division):
    ours = metrics.precision_recall_f1(targets, predictions, zero_division=zero_division)
    theirs = sklearn_scores(targets, predictions, "binary", zero_division)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_source_1_weighted_recall_is_the_accuracy():
    scores = metrics.precision_recall_f1(*SOURCE_1, average="weighted")
    assert [round(score, 3) for score in scores] == [0.847, 0.828, 0.826]
    assert scores.recall == pytest.approx(metrics.accuracy(*SOURCE_1), abs=1e-15)
    assert metrics.precision_recall_f1(*SOURCE_1, average=None).recall.tolist() == [0.944, 0.712]


def test_by_hand():
    targets, predictions = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]
    assert metrics.confusion_matrix(targets, predictions).tolist() == [[1, 1], [1, 2]]
    assert metrics.precision_recall_f1(targets, predictions) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert metrics.accuracy(targets, predictions) == 0.6


def test_confusion_matrix_with_absent_classes():
    table = metrics.confusion_matrix([0, 2], [2, 2], n_classes=4)
    assert table.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert np.array_equal(table, sk.confusion_matrix([0, 2], [2, 2], labels=range(4)))
    with pytest.raises(ValueError, match="n_classes must be more than the largest label, 2, got 2"):
        metrics.confusion_matrix([0, 2], [2, 2], n_classes=2)


@pytest.mark.parametrize(
    "convert",
    [list, tuple, np.array, torch.tensor, lambda x: torch.tensor(x, dtype=torch.int32), lambda x: np.array(x) == 1],
)
def test_kinds_of_input(convert):
    targets, predictions = convert([1, 0, 1, 1]), convert([1, 1, 0, 1])
    assert metrics.accuracy(targets, predictions) == 0.5
    assert metrics.confusion_matrix(targets, predictions).tolist() == [[0, 1], [1, 2]]
    assert metrics.precision_recall_f1(targets, predictions).recall == pytest.approx(2 / 3)
    assert metrics.majority_baseline(targets) == 0.75
    assert metrics.bootstrap_interval(targets, predictions, statistic=metrics.accuracy, n_resamples=20).low >= 0


def test_results_are_plain_numbers():
    scores = metrics.precision_recall_f1([0, 1], [0, 1])
    plain = [
        *scores,
        metrics.accuracy([0, 1], [0, 1]),
        metrics.majority_baseline([0, 1]),
        *metrics.wilson_interval(1, 2),
    ]
    assert {type(value) for value in plain} == {float}


def test_majority_baseline():
    assert metrics.majority_baseline([2, 0, 2, 1]) == 0.5
    assert metrics.majority_baseline([3, 3, 3]) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), r"targets must hold one label .* got shape \(0,\)"),
        (([0, 1], [0]), "must have one length, got 2 and 1"),
        (([0, -100, 1], [0, 0, 1]), "targets must be classes from 0, got -100 at position 1"),
        (([0, 1], [0, -1]), "predictions must be classes from 0, got -1 at position 1"),
        (([0, 1], [0.3, 0.9]), "predictions must be whole numbers, got float64"),
        ((["a"], ["b"]), "targets must be whole numbers"),
        (([[0, 1]], [[0, 1]]), r"got shape \(1, 2\)"),
        ((1, 1), r"got shape \(\)"),
    ],
)
@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.confusion_matrix, metrics.precision_recall_f1])
def test_labels_refused(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


@pytest.mark.parametrize("targets", [[], [-1, 0], [0.5]])
def test_majority_baseline_refuses(targets):
    with pytest.raises(ValueError, match="targets must"):
        metrics.majority_baseline(targets)


@pytest.mark.parametrize(
    ("targets", "settings", "message"),
    [
        ([0, 1, 2], {}, r'average="binary" needs at most two classes, got \[0, 1, 2\]'),
        ([0, 1, 1], {"positive": 2}, r"positive must be one of the two classes \[0, 1\], got 2"),
        ([0, 1, 1], {"average": "mean"}, "average must be"),
        ([0, 1, 1], {"zero_division": 0.5}, "zero_division must be 0 or 1, got 0.5"),
    ],
)
def test_precision_recall_f1_refuses(targets, settings, message):
    with pytest.raises(ValueError, match=message):
        metrics.precision_recall_f1(targets, [0, 1, 1], **settings)


def test_perplexity():
    assert metrics.perplexity(0.0) == 1.0
    assert metrics.perplexity(math.log(103)) == pytest.approx(103)
    assert metrics.perplexity(2.0) == pytest.approx(7.389, abs=5e-4)
    assert metrics.perplexity(torch.tensor(2.0)) == metrics.perplexity(2.0)
    assert metrics.perplexity(1e4) == math.inf
    assert metrics.perplexity(math.inf) == math.inf


@pytest.mark.parametrize("loss", [math.nan, -0.1, -math.inf])
def test_perplexity_refuses(loss):
    with pytest.raises(ValueError, match="mean_loss_nats must be 0 or more"):
        metrics.perplexity(loss)


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 10), (10, 10), (1, 10), (486, 1000), (883, 1000), (7, 3000)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_wilson_equals_scipy(successes, n, confidence):
    theirs = stats.binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    ours = metrics.wilson_interval(successes, n, confidence=confidence)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_edges_are_exact():
    assert metrics.wilson_interval(0, 20).low == 0.0
    assert metrics.wilson_interval(20, 20).high == 1.0
    assert metrics.wilson_interval(0, 20).high == pytest.approx(1 - metrics.wilson_interval(20, 20).low)


@given(n=st.integers(1, 2000), share=st.floats(0, 1))
def test_wilson_holds_the_observed_share(n, share):
    successes = round(share * n)
    low, high = metrics.wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize(
    ("successes", "n", "confidence", "message"),
    [
        (0, 0, 0.95, "n must be a whole number of tries, 1 or more, got 0"),
        (0.8, 100, 0.95, "pass counts, not shares"),
        (-1, 10, 0.95, "successes must be a whole number from 0 to n=10, got -1"),
        (11, 10, 0.95, "got 11"),
        (5, 10, 95, "confidence must be strictly between 0 and 1"),
        (5, 10, 1.0, "confidence"),
    ],
)
def test_wilson_refuses(successes, n, confidence, message):
    with pytest.raises(ValueError, match=message):
        metrics.wilson_interval(successes, n, confidence=confidence)


def scipy_percentile(samples, statistic, seed, confidence):
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=500,
        confidence_level=confidence,
        method="percentile",
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    return result.confidence_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bootstrap_equals_scipy(confidence):
    values = np.random.default_rng(1).exponential(size=41)
    ours = metrics.bootstrap_interval(values, statistic=np.mean, n_resamples=500, confidence=confidence, seed=5)
    theirs = scipy_percentile((values,), np.mean, 5, confidence)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_bootstrap_of_pairs_equals_scipy():
    targets, predictions = make_labels(2, n=40)

    def f1(true, predicted):
        return metrics.precision_recall_f1(true, predicted).f1

    ours = metrics.bootstrap_interval(targets, predictions, statistic=f1, n_resamples=500, seed=2)
    theirs = scipy_percentile((targets, predictions), f1, 2, 0.95)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_bootstrap_of_accuracy_is_close_to_wilson():
    ours = metrics.bootstrap_interval(*SOURCE_1, statistic=metrics.accuracy)
    assert ours == pytest.approx(metrics.wilson_interval(828, 1000), abs=0.005)


def test_bootstrap_is_seeded():
    values = torch.arange(30.0)

    def interval(seed):
        return metrics.bootstrap_interval(values, statistic=np.mean, n_resamples=100, seed=seed)

    assert interval(0) == interval(0)
    assert interval(0) != interval(1)


def test_bootstrap_of_rows_and_of_one_value():
    rows = np.column_stack([np.arange(10.0), np.arange(10.0) + 1])
    interval = metrics.bootstrap_interval(rows, statistic=lambda r: (r[:, 1] - r[:, 0]).mean(), n_resamples=50)
    assert interval == Interval(1.0, 1.0)
    assert metrics.bootstrap_interval([3.0], statistic=np.mean, n_resamples=10) == Interval(3.0, 3.0)


@pytest.mark.parametrize(
    ("samples", "settings", "message"),
    [
        ([], {}, r"got lengths \[\]"),
        ([[]], {}, r"got lengths \[0\]"),
        ([[1, 2], [1]], {}, r"got lengths \[2, 1\]"),
        ([3.0], {}, "got the single value"),
        ([[1, 2]], {"n_resamples": 0}, "n_resamples must be 1 or more, got 0"),
        ([[1, 2]], {"confidence": 0.0}, "confidence must be strictly between 0 and 1"),
        ([[1, math.nan]], {"n_resamples": 50}, "got nan on"),
    ],
)
def test_bootstrap_refuses(samples, settings, message):
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(*samples, **{"statistic": lambda *arrays: float(np.mean(arrays[0]))} | settings)
