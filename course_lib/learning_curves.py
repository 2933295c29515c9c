"""Learning curves: how the error falls as the training set grows, fitted by a power law with a floor.

error(n) = floor + scale * n^-exponent. The floor is what no amount of data removes, and the hardest of the three to
measure: it is an extrapolation to infinity. Chapter 04 (`notebooks/04_more_data.ipynb`) measures a curve and fits it.

Shape legend: M measured runs, S sampled curves.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import t as student_t
from torch import Tensor

from course_lib.metrics.intervals import Interval, _check_confidence

LEAST_SIZES = 4  # three parameters pass through three sizes exactly; the fourth is the first to test them
STARTING_EXPONENTS = (0.1, 0.3, 1.0)  # the best of three fits is kept; in 1 curve of 200 a single one ends elsewhere
LARGEST_LOG = 700.0  # exp of more overflows float64
SEARCH: dict[str, Any] = {"x_scale": "jac", "max_nfev": 2000, "xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12}
Floats = NDArray[np.float64]
Numbers = ArrayLike | Tensor


class Parameters(NamedTuple):
    """One number for each parameter of error(n) = floor + scale * n^-exponent."""

    floor: float
    scale: float
    exponent: float


class Prediction(NamedTuple):
    """The curve's error and the ends of its interval, each of the shape of the sizes asked for."""

    error: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """A fitted learning curve: error(n) = floor + scale * n^-exponent. Errors in the unit of the errors fitted."""

    floor: float
    """The error that is left with endless data, 0 or more."""
    scale: float
    """The error above the floor at one example, above 0; an extrapolation as far as the floor is."""
    exponent: float
    """How steeply it falls, above 0: doubling the data divides the part above the floor by 2^exponent."""
    standard_errors: Parameters
    """One standard error of each parameter; 0 for a floor that was given."""
    covariance: Floats
    """Of floor, scale and exponent, (3, 3), by the curve's slopes at the fit."""
    degrees_of_freedom: float
    """Runs less parameters fitted; infinity where sigma was given, so that nothing was read off the residuals."""

    def floor_interval(self, confidence: float = 0.95) -> Interval:
        """Bound the floor: estimate -+ t * standard error, cut at 0. Raises ValueError on a bad confidence."""
        _check_confidence(confidence)
        margin = self.standard_errors.floor * float(student_t.ppf((1 + confidence) / 2, self.degrees_of_freedom))
        return Interval(max(0.0, self.floor - margin), self.floor + margin)

    def floor_told_from_zero(self, confidence: float = 0.95) -> bool:
        """Whether the floor's interval leaves out 0. If False, these runs do not show that there is a floor."""
        return self.floor_interval(confidence).low > 0

    def predict(self, sizes: Numbers, *, confidence: float = 0.95, n_samples: int = 4000, seed: int = 0) -> Prediction:
        """Read the curve, with an interval from curves drawn at random by the fit's covariance.

        The interval is of the curve, the mean error of many runs; one new run scatters around it by its own noise.
        Beyond the sizes measured it is too narrow where the floor is rough: of 95% intervals at four times the largest
        size, from 80 to 97 in 100 held the truth (tests/test_learning_curves.py).

        Args:
            sizes: training examples, above 0, a number or an array of any shape.
            confidence: the share of drawn curves between the ends, strictly between 0 and 1.
            n_samples: S, how many curves to draw.
            seed: of the draws; equal seeds give equal intervals.

        Returns:
            The curve and the ends, each of the shape of `sizes`; no end lies below 0.

        Raises:
            ValueError: a size is not a finite number above 0, or a setting is out of range.
        """
        _check_confidence(confidence)
        if n_samples < 100:
            raise ValueError(f"n_samples must be 100 or more, got {n_samples!r}; use some thousands")
        log_n, rng = np.log(_check_numbers("sizes", sizes)), np.random.default_rng(seed)
        best = np.array([self.floor, math.log(self.scale), self.exponent])
        unlog = np.array([1.0, 1 / self.scale, 1.0])  # by log(scale) the curve is nearly linear, and scale above 0
        spread = self.covariance * np.outer(unlog, unlog)  # (3, 3)
        draws = rng.multivariate_normal(np.zeros(3), spread, n_samples, method="eigh", check_valid="ignore")  # (S, 3)
        if math.isfinite(self.degrees_of_freedom):  # Student's t: the noise was read off few residuals
            draws *= np.sqrt(self.degrees_of_freedom / rng.chisquare(self.degrees_of_freedom, (n_samples, 1)))
        drawn = (best + draws)[
            best[2] + draws[:, 2] > 0
        ]  # a learning curve falls; where the fit is rough some draws do not
        curves = np.maximum(_curve(log_n[..., None], *drawn.T), 0)  # (*sizes, S)
        low, high = np.percentile(curves, [50 * (1 - confidence), 50 * (1 + confidence)], axis=-1)
        return Prediction(_curve(log_n, *best), low, high)


def fit_power_law(
    sizes: Numbers, errors: Numbers, *, sigma: Numbers | None = None, floor: float | None = None
) -> PowerLaw:
    """Fit error(n) = floor + scale * n^-exponent to measured runs by least squares.

    Args:
        sizes: training examples of each run, above 0, (M,). Repeat a size for its several seeds.
        errors: what each run reached, 0 or more, (M,): a share of wrong answers, or a loss in nats.
        sigma: standard deviation of each error, above 0, in its unit, (M,); None reads one for all off the residuals.
        floor: a known floor, to be held fixed; None fits it, at 0 or more.

    Returns:
        The curve with its standard errors and covariance. Ask `floor_told_from_zero` before you quote the floor.

    Raises:
        ValueError: fewer than 4 different sizes, different lengths, numbers that are nan or out of range, errors that
            do not fall from the smallest size to the largest, or runs that no one curve fits best.

    Source: Cortes et al. (1993), "Learning curves: asymptotic values and rate of convergence", equation 1: a = floor,
        b = scale, alpha = exponent. Hestness et al. (2017), "Deep learning scaling is predictable, empirically":
        epsilon(m) = alpha m^beta + gamma, m = sizes, alpha = scale, beta = -exponent, gamma = floor.
    """
    log_n, error, spread = _check_runs(sizes, errors, sigma, floor)
    center = float(log_n.mean())  # log_scale is then the height amid the measured sizes, not at one example
    free = slice(0 if floor is None else 1, 3)
    best, covariance, lowest = np.array([floor or 0.0, 0.0, 0.0]), np.zeros((3, 3)), math.inf

    def curve(x: Floats, *found: float) -> Floats:
        return _curve(x - center, *(found if floor is None else (floor, *found)))

    for exponent in STARTING_EXPONENTS:
        start = np.array([error.min() / 2, math.log(np.ptp(error)), exponent])[free]
        found, inside = _fit_once(curve, log_n, error, spread, start)
        residuals = (error - curve(log_n, *found)) / (1.0 if spread is None else spread)  # (M,)
        if np.isfinite(inside).all() and float(residuals @ residuals) < lowest:
            lowest, best[free], covariance[free, free] = float(residuals @ residuals), found, inside
    if not math.isfinite(lowest) or abs(best[1] + best[2] * center) > LARGEST_LOG:
        raise ValueError("sizes and errors must single out one curve, got many that fit alike; measure more sizes")
    scale = math.exp(best[1] + best[2] * center)
    slopes = np.array([[1.0, 0.0, 0.0], [0.0, scale, scale * center], [0.0, 0.0, 1.0]])  # of our parameters by these
    covariance = slopes @ covariance @ slopes.T  # (3, 3) @ (3, 3) @ (3, 3): the delta method
    covariance.setflags(write=False)
    df = math.inf if spread is not None else float(len(error) - len(best[free]))
    deviations = Parameters(*np.sqrt(np.maximum(np.diag(covariance), 0)).tolist())
    return PowerLaw(float(best[0]), scale, float(best[2]), deviations, covariance, df)


def _curve(log_n: Floats, floor: Floats | float, log_scale: Floats | float, exponent: Floats | float) -> Floats:
    return floor + np.exp(np.minimum(log_scale - exponent * log_n, LARGEST_LOG))


def _fit_once(
    curve: Callable[..., Floats], log_n: Floats, error: Floats, spread: Floats | None, start: Floats
) -> tuple[Floats, Floats]:
    """Search from one start; the covariance is infinite where no end or no single best curve was found."""
    bounds = np.array([0.0, -np.inf, 0.0])[-len(start) :], np.inf  # floor and exponent; scale is exp(log_scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # "covariance could not be estimated": it is then infinite
        try:
            return curve_fit(curve, log_n, error, start, spread, spread is not None, bounds=bounds, **SEARCH)
        except RuntimeError:  # max_nfev evaluations without an end
            return start, np.full((len(start), len(start)), np.inf)


def _check_runs(
    sizes: Numbers, errors: Numbers, sigma: Numbers | None, floor: float | None
) -> tuple[Floats, Floats, Floats | None]:
    """Return the logarithm of the sizes, the errors and sigma, (M,) each, if a curve can be fitted to them."""
    n, error = _check_numbers("sizes", sizes), _check_numbers("errors", errors, zero=True)
    spread = None if sigma is None else _check_numbers("sigma", sigma)
    shapes = [array.shape for array in (n, error, spread) if array is not None]
    if n.ndim != 1 or len(set(shapes)) > 1:
        raise ValueError(f"sizes, errors and sigma must have one shape, (M,), got {shapes}")
    if (different := len(np.unique(n))) < LEAST_SIZES:
        raise ValueError(f"sizes must hold {LEAST_SIZES} or more different sizes, got {different}; measure more sizes")
    first, last = float(error[n == n.min()].mean()), float(error[n == n.max()].mean())
    if last >= first:
        raise ValueError(f"errors must fall as sizes grow, got {first:.4g} at the smallest, {last:.4g} at the largest")
    if floor is not None and not 0 <= floor < error.max():
        raise ValueError(f"floor must be 0 or more and below the largest error, {error.max():.4g}, got {floor!r}")
    return np.log(n), error, spread


def _check_numbers(name: str, values: Numbers, *, zero: bool = False) -> Floats:
    array = np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)
    bad = ~np.isfinite(array) | (array < 0 if zero else array <= 0)
    if bad.any():
        raise ValueError(f"{name} must be finite and {'0 or more' if zero else 'above 0'}, got {array[bad][0]}")
    return array
