"""Paired comparison against scipy and published tables, at its edges, and for what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from course_lib import metrics
from course_lib.metrics import Interval

TABLES = [
    (36, 12, 2, 0),
    (59, 6, 16, 80),
    (1, 1, 7, 12),
    (0, 5, 0, 0),
    (3, 0, 0, 4),
    (0, 4, 4, 0),
    (5000, 700, 812, 90),
]


def make_answers(both, first_only, second_only, neither):
    counts = [both, first_only, second_only, neither]
    return np.ones(sum(counts), dtype=int), np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


@pytest.mark.parametrize("table", TABLES)
def test_mcnemar_equals_scipy(table):
    result = metrics.mcnemar(*make_answers(*table))
    _, b, c, _ = table
    assert (result.both_right, result.first_only, result.second_only, result.both_wrong) == table
    theirs = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert result.p_value == pytest.approx(theirs, rel=1e-9)
    assert result.chi_square_p_value == pytest.approx(stats.chi2.sf(result.chi_square, 1), rel=1e-12)


@given(b=st.integers(0, 300), c=st.integers(0, 300))
def test_any_mcnemar_equals_scipy(b, c):
    result = metrics.mcnemar(*make_answers(1, b, c, 0))
    assert result.p_value == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0, rel=1e-9)
    swapped = metrics.mcnemar(*make_answers(1, c, b, 0))
    assert (swapped.p_value, swapped.chi_square) == (result.p_value, result.chi_square)
    assert 0 <= result.p_value <= 1


def test_mcnemar_equals_published():
    # Cavo et al. (2012) as worked out in Fagerland, Lydersen and Laake's "contingencytables": Z = 1.919, P = 0.055009.
    result = metrics.mcnemar(*make_answers(59, 6, 16, 80))
    assert result.chi_square == pytest.approx((abs(6 - 16) - 1) ** 2 / 22)
    assert result.chi_square**0.5 == pytest.approx(1.919, abs=5e-4)
    assert result.chi_square_p_value == pytest.approx(0.055009, abs=5e-7)


def test_mcnemar_without_evidence():
    for table in [(3, 0, 0, 4), (0, 4, 4, 0), (1, 0, 0, 0)]:
        result = metrics.mcnemar(*make_answers(*table))
        assert (result.p_value, result.chi_square, result.chi_square_p_value) == (1.0, 0.0, 1.0)
    assert metrics.mcnemar(*make_answers(0, 1, 0, 0)).p_value == 1.0
    assert metrics.mcnemar(*make_answers(0, 20_000, 0, 0)).p_value == 0.0  # 2^-19999 is below float64


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [((36, 12, 2, 0), 0.0569, 0.3404), ((59, 6, 16, 80), -0.1186, -0.0046), ((1, 1, 7, 12), -0.507, -0.026)],
)
def test_accuracy_difference_equals_published(table, low, high):
    # The first is Newcombe's (1998) example; the others are Fagerland, Lydersen and Laake's (2014).
    value, interval = metrics.accuracy_difference(*make_answers(*table))
    assert value == pytest.approx((table[1] - table[2]) / sum(table))
    assert interval == pytest.approx((low, high), abs=6e-4 if low == -0.507 else 6e-5)


@given(counts=st.tuples(*[st.integers(0, 40)] * 4).filter(any), confidence=st.floats(0.5, 0.999))
def test_accuracy_difference_holds_the_difference(counts, confidence):
    value, (low, high) = metrics.accuracy_difference(*make_answers(*counts), confidence=confidence)
    assert -1 - 1e-12 <= low <= value <= high <= 1 + 1e-12
    targets, first, second = make_answers(*counts)
    assert value == pytest.approx(metrics.accuracy(targets, first) - metrics.accuracy(targets, second), abs=1e-12)
    _, mirrored = metrics.accuracy_difference(targets, second, first, confidence=confidence)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_accuracy_difference_covers():
    rng, shares = np.random.default_rng(0), [0.75, 0.1, 0.05, 0.1]
    tables = rng.multinomial(200, shares, size=500)
    hits = [low <= 0.05 <= high for _, (low, high) in (metrics.accuracy_difference(*make_answers(*t)) for t in tables)]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_pairing_narrows_the_interval():
    value, (low, _) = metrics.accuracy_difference(*make_answers(800, 30, 20, 150))
    one, two = metrics.wilson_interval(830, 1000), metrics.wilson_interval(820, 1000)
    unpaired = ((0.83 - one.low) ** 2 + (two.high - 0.82) ** 2) ** 0.5
    assert value - low < unpaired / 2


def test_paired_bootstrap_equals_scipy():
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, size=80)
    first, second = targets + rng.normal(size=80), targets + rng.normal(scale=2, size=80)

    def statistic(true, one, two):
        return roc_auc_score(true, one) - roc_auc_score(true, two)

    theirs = stats.bootstrap(
        (targets, first, second),
        statistic,
        n_resamples=300,
        method="percentile",
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(7),
    ).confidence_interval
    ours = metrics.paired_bootstrap_interval(targets, first, second, metric=metrics.roc_auc, n_resamples=300, seed=7)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-10)


def test_paired_bootstrap_of_accuracy_is_close_to_newcombe():
    answers = make_answers(800, 60, 20, 120)
    assert metrics.paired_bootstrap_interval(*answers) == pytest.approx(
        metrics.accuracy_difference(*answers).interval, abs=0.004
    )


def test_paired_bootstrap_of_one_model_twice_is_zero():
    targets, first, _ = make_answers(5, 3, 2, 1)
    assert metrics.paired_bootstrap_interval(targets, first, first, n_resamples=50) == Interval(0.0, 0.0)


def test_kinds_of_input():
    targets, first, second = make_answers(5, 3, 2, 1)
    tensors = torch.tensor(targets), torch.tensor(first), torch.tensor(second)
    assert metrics.mcnemar(*tensors) == metrics.mcnemar(targets.tolist(), first.tolist(), second.tolist())
    assert metrics.accuracy_difference(*tensors) == metrics.accuracy_difference(targets, first, second)
    assert metrics.paired_bootstrap_interval(*tensors, n_resamples=50) == metrics.paired_bootstrap_interval(
        targets, first, second, n_resamples=50
    )
    assert type(metrics.mcnemar(*tensors).first_only) is int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "targets must hold one label"),
        (([0, 1], [0, 1], [0]), "targets, first and second must have one length, got 2, 2 and 1"),
        (([0, 1], [0.1, 0.9], [0, 1]), "first must be whole numbers, got float64"),
        (([0, 1], [0, 1], [0, -1]), "second must be classes from 0, got -1 at position 1"),
    ],
)
@pytest.mark.parametrize("function", [metrics.mcnemar, metrics.accuracy_difference])
def test_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_settings_refused():
    with pytest.raises(ValueError, match="confidence must be strictly between 0 and 1"):
        metrics.accuracy_difference([0], [0], [1], confidence=95)
    with pytest.raises(ValueError, match=r"got lengths \[2, 2, 1\]"):
        metrics.paired_bootstrap_interval([0, 1], [0, 1], [0])
    with pytest.raises(ValueError, match="n_resamples must be 1 or more, got 0"):
        metrics.paired_bootstrap_interval([0, 1], [0, 1], [0, 1], n_resamples=0)
    with pytest.raises(ValueError, match="targets must hold both classes"):
        metrics.paired_bootstrap_interval([0, 1], [0.1, 0.2], [0.3, 0.4], metric=metrics.roc_auc)
