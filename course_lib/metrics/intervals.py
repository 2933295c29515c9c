"""Intervals: how far a measured score could be off because these examples were drawn and not others.

`wilson_interval` serves a share of right answers and needs two counts. `bootstrap_interval` serves any statistic and
needs the examples themselves. Taught in chapter 10 (`notebooks/10_evaluation.ipynb`).
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor


class Interval(NamedTuple):
    """The lower and the upper end, in the unit of what was measured."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Bound the true share of successes, having seen `successes` in `n` independent tries.

    The textbook interval p +- z sqrt(p (1 - p) / n) has no width at 0 or n successes and can leave [0, 1]; this one
    asks which true shares would make the observed one unsurprising, and stays inside.

    Args:
        successes: for example correct answers, 0 to n.
        n: tries, for example reviews; at least 1.
        confidence: how often intervals made this way hold the true share, between 0 and 1.

    Returns:
        The two ends, shares between 0 and 1.

    Raises:
        ValueError: a count is not whole or out of its range, or confidence is not strictly between 0 and 1.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference"; the form is equation
        4 of Brown, Cai and DasGupta (2001): X = successes, kappa = z, the standard normal quantile.
    """
    if n != int(n) or n < 1:
        raise ValueError(f"n must be a whole number of tries, 1 or more, got {n!r}; no tries give no interval")
    if successes != int(successes) or not 0 <= successes <= n:
        raise ValueError(
            f"successes must be a whole number from 0 to n={n}, got {successes!r}; pass counts, not shares"
        )
    _check_confidence(confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # The ends are 0 and 1 exactly where nothing, or everything, succeeded; rounding would leave 1e-18.
    return Interval(
        low=0.0 if successes == 0 else center - margin,
        high=1.0 if successes == n else center + margin,
    )


def bootstrap_interval(
    *samples: ArrayLike | Tensor,
    statistic: Callable[..., Any],
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bound a statistic by computing it again on many samples drawn from the sample, with replacement.

    Args:
        samples: one array, such as the loss of each review, (N,), or several that are drawn together, row by row, such
            as targets and predictions. The first dimension counts independent examples: if reviews of one film
            resemble each other, draw films.
        statistic: takes as many arrays as there are samples and returns one number, for example `numpy.mean` or
            `accuracy`.
        n_resamples: how many samples to draw; the ends settle with a few thousand.
        confidence: the share of the resampled statistics that lies between the ends, between 0 and 1.
        seed: of the draws; equal seeds give equal intervals.

    Returns:
        The percentile interval, in the unit of the statistic.

    Raises:
        ValueError: no sample, an empty one, different lengths, a setting out of range, or a statistic that is nan on a
            resample, which would make the ends nan.

    Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", section 13.3: B = n_resamples,
        1 - 2 alpha = confidence, theta-hat* = the resampled statistics.
    """
    arrays = [_as_array(sample) for sample in samples]
    lengths = [len(array) for array in arrays]
    if not arrays or min(lengths) == 0 or len(set(lengths)) > 1:
        raise ValueError(f"samples must be one or more arrays of one length, 1 or more, got lengths {lengths}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be 1 or more, got {n_resamples!r}; use a thousand or more")
    _check_confidence(confidence)
    rng = np.random.default_rng(seed)
    resampled = np.empty(n_resamples)
    for draw in range(n_resamples):  # one draw at a time: all at once would take n_resamples times the data's memory
        rows = rng.integers(0, lengths[0], size=lengths[0])
        resampled[draw] = float(statistic(*(array[rows] for array in arrays)))
    if np.isnan(resampled).any():
        raise ValueError(
            f"statistic must return a number, got nan on {int(np.isnan(resampled).sum())} of {n_resamples} resamples; "
            "define it for a resample that lacks a class"
        )
    low, high = np.percentile(resampled, [50 * (1 - confidence), 50 * (1 + confidence)])
    return Interval(float(low), float(high))


def _as_array(sample: ArrayLike | Tensor) -> np.ndarray:
    array = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
    if array.ndim == 0:
        raise ValueError(f"each sample must be an array of examples, (N, ...), got the single value {array!r}")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be strictly between 0 and 1, such as 0.95, got {confidence!r}")
