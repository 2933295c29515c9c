"""The power law against scipy, on curves whose truth is known, at its edges, and for what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from course_lib.learning_curves import fit_power_law

SIZES = np.array([100, 200, 400, 800, 1600, 3200])
FIVE_SEEDS = np.repeat(SIZES, 5)


def power_law(n, floor, scale, exponent):
    return floor + scale * np.asarray(n, dtype=float) ** -exponent


def make_runs(truth=(0.05, 2.0, 0.5), sizes=FIVE_SEEDS, noise=0.003, seed=0):
    rng = np.random.default_rng(seed)
    return sizes, np.maximum(power_law(sizes, *truth) + noise * rng.normal(size=len(sizes)), 0)


def numbers(fit):
    return fit.floor, fit.scale, fit.exponent


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_equals_scipy(known, seed):
    sizes, errors = make_runs(seed=seed)
    sigma = np.linspace(0.002, 0.004, len(sizes)) if known else None
    theirs, covariance = curve_fit(
        power_law, sizes, errors, p0=(0.05, 2, 0.5), sigma=sigma, absolute_sigma=known, xtol=1e-13, ftol=1e-13
    )
    ours = fit_power_law(sizes, errors, sigma=sigma)
    assert numbers(ours) == pytest.approx(theirs, rel=1e-4)
    np.testing.assert_allclose(ours.covariance, covariance, rtol=2e-3)
    assert ours.standard_errors == pytest.approx(np.sqrt(np.diag(covariance)), rel=2e-3)
    assert ours.degrees_of_freedom == (math.inf if known else 27)


def test_a_given_floor_equals_scipy():
    sizes, errors = make_runs()
    theirs, covariance = curve_fit(lambda n, a, b: power_law(n, 0.05, a, b), sizes, errors, p0=(2, 0.5))
    ours = fit_power_law(sizes, errors, floor=0.05)
    assert numbers(ours) == pytest.approx((0.05, *theirs), rel=1e-4)
    np.testing.assert_allclose(ours.covariance[1:, 1:], covariance, rtol=1e-3)
    assert ours.floor_interval() == (0.05, 0.05)
    assert (ours.predict([1600, 1e12]).low >= 0.05).all()
    assert ours.degrees_of_freedom == 28


@given(floor=st.floats(0.02, 0.3), height=st.floats(0.05, 1), exponent=st.floats(0.2, 1.2), sizes=st.integers(4, 6))
@settings(deadline=None, max_examples=50)
def test_recovers_a_curve_without_noise(floor, height, exponent, sizes):
    truth = floor, height * 100**exponent, exponent
    fit = fit_power_law(SIZES[:sizes], power_law(SIZES[:sizes], *truth))
    assert numbers(fit) == pytest.approx(truth, rel=0.02)
    assert fit.predict(10_000).error == pytest.approx(power_law(10_000, *truth), rel=0.01)


def coverage(truth, *, sizes=FIVE_SEEDS, noise=0.003, known=False, trials=150, at=()):
    """How often the floor's interval, and the curve's at each size, hold the truth; and how often a floor is told."""
    held, curve_held, told = 0, np.zeros(len(at)), 0
    for seed in range(trials):
        runs = make_runs(truth, sizes, noise, seed)
        fit = fit_power_law(*runs, sigma=np.full(len(sizes), noise) if known else None)
        low, high = fit.floor_interval()
        held += low <= truth[0] <= high
        told += fit.floor_told_from_zero()
        band = fit.predict(at, n_samples=1000, seed=seed)
        curve_held += (band.low <= power_law(at, *truth)) & (power_law(at, *truth) <= band.high)
    return held / trials, curve_held / trials, told / trials


@pytest.mark.parametrize("known", [False, True])
def test_intervals_cover_where_the_floor_is_measured(known):
    floor_share, curve_shares, told = coverage((0.05, 2.0, 0.5), known=known, at=(100, 800, 3200, 12_800, 320_000))
    assert floor_share >= 0.9
    assert (curve_shares >= 0.9).all(), curve_shares
    assert told == 1.0


def test_parameters_lie_within_their_errors():
    fits = [fit_power_law(*make_runs(seed=seed), sigma=np.full(30, 0.003)) for seed in range(150)]
    errors = [(fit.standard_errors.floor, fit.standard_errors.exponent) for fit in fits]
    away = (np.array([(fit.floor, fit.exponent) for fit in fits]) - (0.05, 0.5)) / errors
    assert np.abs(away.mean(axis=0)).max() < 0.35  # 150 means of unit spread: 0.08 each, plus the curve's bend
    assert away.std(axis=0) == pytest.approx([1, 1], abs=0.2)


def test_a_floor_of_zero_is_not_told_from_zero():
    held, curve_shares, told = coverage((0.0, 2.0, 0.5), at=(100, 3200, 12_800))
    assert held >= 0.9
    assert (curve_shares >= 0.9).all(), curve_shares
    assert told <= 0.05


def test_a_rough_floor_makes_the_interval_beyond_the_data_too_narrow():
    # What predict's docstring admits: the interval reads the curve's slopes at the fit, and far out it bends.
    _, (inside, beyond), _ = coverage((0.1, 1.0, 0.3), sizes=np.repeat(SIZES, 3), noise=0.01, at=(100, 12_800))
    assert inside >= 0.9
    assert 0.7 <= beyond < 0.9


def test_the_interval_widens_beyond_the_sizes_measured():
    fit = fit_power_law(*make_runs())
    error, low, high = fit.predict([[800, 3200], [12_800, 320_000]])
    assert error.shape == low.shape == high.shape == (2, 2)
    assert ((low < error) & (error < high)).all()
    assert (np.diff((high - low).ravel()) > 0).all()
    endless = fit.predict(1e30)
    assert endless.error == pytest.approx(fit.floor)
    assert (endless.low, endless.high) == pytest.approx(fit.floor_interval(), abs=fit.standard_errors.floor)


def test_prediction_equals_the_delta_method_amid_the_data():
    fit = fit_power_law(*make_runs(noise=0.0003), sigma=np.full(30, 0.0003))
    n = 800.0
    slopes = np.array([1, n**-fit.exponent, -fit.scale * n**-fit.exponent * math.log(n)])
    margin = 1.96 * math.sqrt(slopes @ fit.covariance @ slopes)
    error, low, high = fit.predict(n, n_samples=40_000)
    assert (error - low, high - error) == pytest.approx((margin, margin), rel=0.04)


def test_prediction_is_seeded():
    one, again, two = (fit_power_law(*make_runs()).predict(5000, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.low != two.low


def test_a_single_seed_of_four_sizes():
    fit = fit_power_law(*make_runs(sizes=SIZES[:4]))
    assert fit.degrees_of_freedom == 1
    margin = fit.floor_interval().high - fit.floor
    assert margin == pytest.approx(12.706 * fit.standard_errors.floor, rel=1e-4)  # Student's t, one degree of freedom
    assert np.isfinite(fit.predict([1, 100, 1e9])).all()


def test_bounds_hold():
    # Straight on log-log paper and bent the wrong way: the best floor would be below 0.
    fit = fit_power_law(SIZES, [0.9, 0.7, 0.5, 0.3, 0.15, 0.05])
    assert min(numbers(fit)) >= 0
    assert not fit.floor_told_from_zero()
    assert (fit.predict([1e3, 1e12]).low >= 0).all()


def test_kinds_of_input():
    sizes, errors = make_runs()
    expected = numbers(fit_power_law(sizes, errors))
    assert numbers(fit_power_law(sizes.tolist(), errors.tolist())) == expected
    assert numbers(fit_power_law(torch.tensor(sizes), torch.tensor(errors))) == expected
    assert numbers(fit_power_law(sizes[::-1], errors[::-1])) == pytest.approx(expected, rel=1e-4)
    fit = fit_power_law(sizes, errors)
    assert {type(value) for value in [*numbers(fit), *fit.standard_errors, *fit.floor_interval()]} == {float}
    with pytest.raises(ValueError, match="read-only"):
        fit.covariance[0, 0] = 1.0


FALLING = [0.5, 0.4, 0.3, 0.25]


@pytest.mark.parametrize(
    ("sizes", "errors", "settings", "message"),
    [
        ([1, 2, 3], [3, 2, 1], {}, "sizes must hold 4 or more different sizes, got 3; measure more sizes"),
        ([0, 2, 3, 4], FALLING, {}, "sizes must be finite and above 0, got 0.0"),
        ([1, 2, 3, math.nan], FALLING, {}, "sizes must be finite and above 0, got nan"),
        ([1, 2, 3, 4], [0.5, 0.4, math.nan, 0.2], {}, "errors must be finite and 0 or more, got nan"),
        ([1, 2, 3, 4], [0.5, 0.4, 0.3, -0.1], {}, "errors must be finite and 0 or more, got -0.1"),
        ([1, 2, 3, 4], FALLING[:3], {}, r"must have one shape, \(M,\), got \[\(4,\), \(3,\)\]"),
        ([[1, 2], [3, 4]], [[4, 3], [2, 1]], {}, r"must have one shape, \(M,\), got \[\(2, 2\)"),
        ([1, 2, 3, 4], FALLING, {"sigma": [0.1, 0.1, 0, 0.1]}, "sigma must be finite and above 0, got 0.0"),
        ([1, 2, 3, 4], FALLING[::-1], {}, "errors must fall as sizes grow, got 0.25 at the smallest, 0.5 at"),
        ([1, 2, 3, 4], FALLING, {"floor": -0.1}, "floor must be 0 or more and below the largest error, 0.5, got -0.1"),
        ([1, 2, 3, 4], FALLING, {"floor": math.nan}, "got nan"),
    ],
)
def test_fit_refuses(sizes, errors, settings, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(sizes, errors, **settings)


def test_predict_refuses():
    fit = fit_power_law(*make_runs())
    with pytest.raises(ValueError, match="sizes must be finite and above 0, got 0"):
        fit.predict([10, 0])
    with pytest.raises(ValueError, match="n_samples must be 100 or more, got 5"):
        fit.predict(10, n_samples=5)
    with pytest.raises(ValueError, match="confidence must be strictly between 0 and 1"):
        fit.predict(10, confidence=95)
    with pytest.raises(ValueError, match="confidence must be strictly between 0 and 1"):
        fit.floor_interval(95)
