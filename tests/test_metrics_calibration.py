"""Calibration against scikit-learn, scipy and torch, at its edges, and for what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from course_lib import metrics


def make_answers(n_classes=3, n=400, seed=0, sharpness=1.0):
    """Logits and targets drawn from their own softmax, so calibrated, then sharpened: the best T is the sharpness."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, n_classes))
    targets = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits * sharpness, np.minimum(targets, n_classes - 1)


def answers_of(probabilities, targets):
    rows = np.column_stack([1 - probabilities, probabilities]) if probabilities.ndim == 1 else probabilities
    return rows.argmax(axis=1) == targets, rows.max(axis=1)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("bins", [1, 4, 10, 15])
@pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_reliability_equals_scikit_learn(n_classes, bins, equal_mass, strategy):
    logits, targets = make_answers(n_classes)
    probabilities = softmax(logits, axis=1)
    table = metrics.reliability(targets, probabilities, bins, equal_mass=equal_mass)
    right, sure = answers_of(probabilities, targets)
    shares, means = calibration_curve(right, sure, n_bins=bins, strategy=strategy)
    np.testing.assert_allclose([row.accuracy for row in table], shares, rtol=1e-12)
    np.testing.assert_allclose([row.confidence for row in table], means, rtol=1e-12)
    assert sum(row.n for row in table) == len(targets)
    if equal_mass:
        assert max(row.n for row in table) - min(row.n for row in table) <= 1


def test_ece_equals_the_sum_over_scikit_learn_bins():
    logits, targets = make_answers(4, sharpness=2.0)
    probabilities = softmax(logits, axis=1)
    right, sure = answers_of(probabilities, targets)
    shares, means = calibration_curve(right, sure, n_bins=12)
    counts, _ = np.histogram(sure, bins=12, range=(0, 1))
    theirs = (counts[counts > 0] * np.abs(shares - means)).sum() / len(targets)
    assert metrics.expected_calibration_error(targets, probabilities, 12) == pytest.approx(theirs, rel=1e-12)


def test_reliability_by_hand():
    table = metrics.reliability([1, 1, 0, 1], [0.9, 0.8, 0.7, 0.2], bins=5)
    assert [(row.low, row.high, row.n) for row in table] == [
        (pytest.approx(0.6), pytest.approx(0.8), 3),  # 0.8 stands on the edge and belongs below; 1 - 0.2 = 0.8 too
        (pytest.approx(0.8), 1.0, 1),
    ]
    assert table[0].accuracy == pytest.approx(1 / 3)
    assert table[0].confidence == pytest.approx((0.8 + 0.7 + 0.8) / 3)
    assert table[0].interval == metrics.wilson_interval(1, 3)
    ece = metrics.expected_calibration_error([1, 1, 0, 1], [0.9, 0.8, 0.7, 0.2], bins=5)
    assert ece == pytest.approx((abs(1 - 2.3) + abs(1 - 0.9)) / 4)


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not():
    assert metrics.expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0
    assert metrics.expected_calibration_error([1, 0], [0.0, 1.0]) == 1.0
    assert metrics.expected_calibration_error([0, 0, 1, 1], [0.5] * 4) == 0.0  # a tie answers 0, right half the time


def test_equal_mass_bins_with_one_confidence_fall_into_one():
    (row,) = metrics.reliability([1, 0, 1], [0.7] * 3, bins=4, equal_mass=True)
    assert (row.n, row.accuracy) == (3, pytest.approx(2 / 3))


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_brier_equals_scikit_learn(n_classes):
    logits, targets = make_answers(n_classes)
    probabilities = softmax(logits, axis=1)
    theirs = sk.brier_score_loss(targets, probabilities, labels=list(range(n_classes)))
    assert metrics.brier_score(targets, probabilities) == pytest.approx(theirs, rel=1e-12)
    if n_classes == 2:
        assert metrics.brier_score(targets, probabilities[:, 1]) == pytest.approx(theirs, rel=1e-12)


@given(pairs=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=30), bins=st.integers(1, 20))
def test_any_probabilities(pairs, bins):
    targets, probabilities = (np.array(column) for column in zip(*pairs, strict=True))
    both = np.column_stack([1 - probabilities, probabilities])
    ece = metrics.expected_calibration_error(targets, probabilities, bins)
    assert 0 <= ece <= 1
    assert ece == metrics.expected_calibration_error(targets, both, bins)
    assert metrics.brier_score(targets, probabilities) == pytest.approx(np.mean((probabilities - targets) ** 2))
    assert all(row.low <= row.confidence * (1 + 1e-12) for row in metrics.reliability(targets, both, bins))


@pytest.mark.parametrize("sharpness", [0.01, 0.5, 1.0, 3.0, 1000.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_temperature_equals_scipy_and_undoes_sharpening(n_classes, sharpness):
    logits, targets = make_answers(n_classes, n=2000, sharpness=sharpness)

    def loss(log_t):
        return -log_softmax(logits / math.exp(log_t), axis=1)[np.arange(len(targets)), targets].mean()

    center = math.log(sharpness)
    theirs = minimize_scalar(loss, bounds=(center - 3, center + 3), method="bounded", options={"xatol": 1e-9})
    ours = metrics.fit_temperature(logits, targets)
    assert ours == pytest.approx(math.exp(theirs.x), rel=1e-5)
    assert ours == pytest.approx(sharpness, rel=0.1)
    assert loss(math.log(ours)) <= theirs.fun + 1e-12
    if sharpness == 3.0:
        before, after = (metrics.expected_calibration_error(targets, softmax(logits / t, axis=1)) for t in (1.0, ours))
        assert after < before / 2


def test_temperature_has_no_slope_in_torch():
    logits, targets = make_answers(4, sharpness=2.5)
    inverse = torch.tensor(1 / metrics.fit_temperature(logits, targets), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.tensor(logits) * inverse, torch.tensor(targets)).backward()
    assert inverse.grad.item() == pytest.approx(0, abs=1e-9)


def test_temperature_equals_scikit_learn():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    targets = (features[:, :3] + rng.normal(size=(300, 3))).argmax(axis=1)
    model = LogisticRegression(C=100).fit(features[:60], targets[:60])
    held_out, true = features[60:], targets[60:]
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature", ensemble=False).fit(held_out, true)
    logits = model.decision_function(held_out)
    ours = softmax(logits / metrics.fit_temperature(logits, true), axis=1)
    np.testing.assert_allclose(ours, theirs.predict_proba(held_out), atol=1e-6)


def test_kinds_of_input():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    targets = torch.tensor([0, 1, 1])
    probabilities = logits.softmax(1)
    listed = probabilities.tolist()
    assert metrics.brier_score(targets, probabilities) == pytest.approx(metrics.brier_score([0, 1, 1], listed))
    assert metrics.fit_temperature(logits, targets) == metrics.fit_temperature(logits.tolist(), [0, 1, 1])
    assert metrics.reliability(targets, logits.bfloat16().float().softmax(1))[0].n >= 1
    numbers = [metrics.brier_score(targets, listed), metrics.expected_calibration_error(targets, listed)]
    assert {type(number) for number in [*numbers, metrics.fit_temperature(logits, targets)]} == {float}


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([], [], r"targets must hold one label"),
        ([0, 1], [0.5], r"with N=2 targets and K of 2 or more, got shape \(1, 2\)"),
        ([0, 1], [[0.5, 0.5, 0.5], [0, 0, 1]], "must sum to 1 for each example, got 1.5 at position 0"),
        ([0, 1], [2.0, -1.0], "must lie in 0 to 1, got -1.0 to 2.0; take the softmax"),
        ([0, 1], [0.5, math.nan], "must be finite numbers, got nan"),
        ([0, 2], [0.5, 0.5], "targets must be classes below K=2, got 2"),
        ([0, 1], [[1.0], [1.0]], r"K of 2 or more, got shape \(2, 1\)"),
        ([0, 1], [[[1.0]]], r"got shape \(1, 1, 1\)"),
    ],
)
@pytest.mark.parametrize("metric", [metrics.reliability, metrics.expected_calibration_error, metrics.brier_score])
def test_refused(metric, targets, probabilities, message):
    with pytest.raises(ValueError, match=message):
        metric(targets, probabilities)


def test_settings_refused():
    with pytest.raises(ValueError, match="bins must be a whole number, 1 or more, got 0"):
        metrics.reliability([0, 1], [0.1, 0.9], bins=0)
    with pytest.raises(ValueError, match="confidence must be strictly between 0 and 1"):
        metrics.reliability([0, 1], [0.1, 0.9], confidence=95)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ([[2.0, 1.0], [0.0, 3.0]], [0, 1], "got all targets right: T would be 0"),
        ([[2.0, 1.0], [0.0, 3.0]], [1, 0], "no better than chance: T would be infinite"),
        ([[1.0, 1.0], [3.0, 3.0]], [1, 0], "no better than chance"),
        ([[1.0, 1.0], [3.0, 0.0]], [1, 0], "got all targets right"),
        ([[1.0, 0.0], [1.0, 0.0]], [0, 1], "no better than chance"),
        ([1.0, 0.0], [0, 1], r"logits must be \(N, K\) with N=2 targets and K of 2 or more, got shape \(2,\)"),
        ([[1.0, -math.inf], [1.0, 0.0]], [0, 1], "logits must be finite numbers, got -inf"),
        ([[1.0, 0.0]], [2], "targets must be classes below K=2, got 2"),
    ],
)
def test_temperature_refuses(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        metrics.fit_temperature(logits, targets)
