"""Paired comparison: two models that answered the same examples, and whether one is better by more than luck.

What both got right or both got wrong says nothing about which is better; the examples on which they differ decide.
Taught in chapter 10 (`notebooks/10_evaluation.ipynb`). Shape legend: N examples.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from course_lib.metrics.classification import Labels, _check_labels, accuracy
from course_lib.metrics.intervals import Interval, bootstrap_interval, wilson_interval


@dataclass(frozen=True, kw_only=True)
class McNemarResult:
    """The table of two models' right and wrong answers, and how surprising it is if neither is better."""

    both_right: int
    first_only: int
    """Examples that the first model alone got right."""
    second_only: int
    """Examples that the second model alone got right."""
    both_wrong: int
    p_value: float
    """Exact and two-sided: the chance, if neither is better, of a split at least as uneven."""
    chi_square: float
    """Edwards's statistic, with his correction for continuity; 1 degree of freedom."""
    chi_square_p_value: float
    """The approximate p-value of `chi_square`; fair from about 25 differing examples on."""


class Difference(NamedTuple):
    """The first model's score less the second's, and its interval: above 0 where the first is better."""

    value: float
    interval: Interval


def mcnemar(targets: Labels, first: Labels, second: Labels) -> McNemarResult:
    """Test whether two models that answered the same examples are equally often right.

    If they are, each example that only one got right is a fair coin.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        first: the first model's predicted classes, (N,).
        second: the second model's, (N,).

    Returns:
        The four counts and the p-values. Without a differing example both p-values are 1: nothing speaks for either.

    Raises:
        ValueError: no examples, different lengths, or labels that are not whole numbers from 0.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
        percentages": b = first_only, c = second_only; Edwards (1948), chi^2 = (|b - c| - 1)^2 / (b + c), taken as 0
        where b = c, as R does. Dietterich (1998) recommends the test for two trained classifiers.
    """
    both, b, c, neither = _count(targets, first, second)
    n = b + c
    # 2^n outcomes of n fair coins, in exact whole numbers; both tails are alike, so twice the smaller one.
    ways = sum(_binomials(n, min(b, c)))
    statistic = max(abs(b - c) - 1, 0) ** 2 / n if n else 0.0
    return McNemarResult(
        both_right=both,
        first_only=b,
        second_only=c,
        both_wrong=neither,
        p_value=1.0 if b == c else 2 * ways / 2**n,
        chi_square=statistic,
        chi_square_p_value=math.erfc(math.sqrt(statistic / 2)),  # the upper tail of chi-square with 1 degree of freedom
    )


def accuracy_difference(targets: Labels, first: Labels, second: Labels, *, confidence: float = 0.95) -> Difference:
    """Return the first model's accuracy less the second's, with an interval that knows they answered the same examples.

    Args:
        targets: true classes, whole numbers from 0, (N,).
        first: the first model's predicted classes, (N,).
        second: the second model's, (N,).
        confidence: how often intervals made this way hold the true difference, strictly between 0 and 1.

    Returns:
        The difference, a share from -1 to 1, and its interval. It can include 0 where `mcnemar` has a p-value just
        below 0.05, and the other way round: they are two approximations.

    Raises:
        ValueError: no examples, different lengths, bad labels, or confidence out of its range.

    Source: Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on
        paired data", method 10: Wilson intervals (l1, u1) and (l2, u2) of both accuracies, squared and added less the
        part they share, phi = `correlation`; e, f, g, h = both_right, first_only, second_only, both_wrong.
    """
    e, f, g, h = _count(targets, first, second)
    n = e + f + g + h
    one, two = (e + f) / n, (e + g) / n
    l1, u1 = wilson_interval(e + f, n, confidence=confidence)
    l2, u2 = wilson_interval(e + g, n, confidence=confidence)
    determinant = e * h - f * g
    shrunk = max(determinant - n / 2, 0) if determinant > 0 else determinant  # the continuity correction of method 10
    margins = (e + f) * (g + h) * (e + g) * (f + h)
    correlation = shrunk / math.sqrt(margins) if margins else 0.0

    def add(part: float, other: float) -> float:
        squared = part**2 - 2 * correlation * part * other + other**2
        return math.sqrt(max(squared, 0.0))  # rounding could leave -1e-19

    value = (f - g) / n
    return Difference(value, Interval(low=value - add(one - l1, u2 - two), high=value + add(u1 - one, two - l2)))


def paired_bootstrap_interval(
    targets: ArrayLike | Tensor,
    first: ArrayLike | Tensor,
    second: ArrayLike | Tensor,
    *,
    metric: Callable[[Any, Any], float] = accuracy,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bound the difference of any metric of two models by scoring both on the same redrawn examples.

    Args:
        targets: what is true of each example, (N,) or (N, ...).
        first: the first model's answers or scores, whatever `metric` takes, (N, ...).
        second: the second model's, (N, ...).
        metric: takes targets and answers and returns one number; `accuracy`, `roc_auc` or your own.
        n_resamples: how many samples to draw.
        confidence: the share of the resampled differences that lies between the ends, strictly between 0 and 1.
        seed: of the draws; equal seeds give equal intervals.

    Returns:
        The percentile interval of metric(targets, first) - metric(targets, second), in the unit of the metric.

    Raises:
        ValueError: no examples, different lengths, a setting out of range, a metric that is nan on a resample, or
            what the metric itself refuses, such as a resample with one class only.

    Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", section 13.3; for two systems on one test
        set, Koehn (2004), "Statistical significance tests for machine translation evaluation".
    """

    def difference(true: NDArray[Any], one: NDArray[Any], two: NDArray[Any]) -> float:
        return float(metric(true, one)) - float(metric(true, two))

    return bootstrap_interval(
        targets, first, second, statistic=difference, n_resamples=n_resamples, confidence=confidence, seed=seed
    )


def _count(targets: Labels, first: Labels, second: Labels) -> tuple[int, int, int, int]:
    """Count examples that both models, only the first, only the second, and neither got right."""
    named = {"targets": targets, "first": first, "second": second}
    true, one, two = (_check_labels(name, labels) for name, labels in named.items())
    if not len(true) == len(one) == len(two):
        raise ValueError(f"targets, first and second must have one length, got {len(true)}, {len(one)} and {len(two)}")
    cells = np.bincount(2 * (one != true) + (two != true), minlength=4)  # (N,) -> (4,)
    both, first_only, second_only, neither = (int(count) for count in cells)
    return both, first_only, second_only, neither


def _binomials(n: int, last: int) -> Iterator[int]:
    """Give n choose 0 to n choose last, each made from the one before."""
    ways = 1
    for k in range(last + 1):
        yield ways
        ways = ways * (n - k) // (k + 1)
