"""Self-checks of chapter 10: a wrong score or a wrong search is recognized by what it produces.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side. The last two exercises are in
`evaluation_choices`.
"""

import math
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Hint, Verdict, expect, judge
from course_lib.checks.evaluation_choices import check_cheapest, check_differ
from course_lib.checks.probe import number

__all__ = ["cheapest", "differ", "suspects", "weighted_f1"]

Table = list[list[int]]
Counts = tuple[int, ...]


def weighted_f1(answer: Callable[[Table], float]) -> Verdict:
    """Check `weighted_f1(table)`: F1 of each class, averaged by how many examples truly belong to it.

    Args:
        answer: The learner's function of a confusion matrix, rows true classes.

    Returns:
        The verdict to show.
    """
    return judge(answer, _weighted_f1)


def suspects(answer: Callable[..., list[Counts]]) -> Verdict:
    """Check `suspects(n, accuracy, precision, f1)`: all confusion matrices that a log's three figures allow.

    Args:
        answer: The learner's function; it gives a list of (tn, fp, fn, tp).

    Returns:
        The verdict to show.
    """
    return judge(answer, _suspects)


def differ(answer: tuple[object, object, object]) -> Verdict:
    """Check the intervals of 880 and 883 right of 1,000, and what follows from them.

    Args:
        answer: The learner's (low, high) of each, and one of three verdicts.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_differ)


def cheapest(answer: Callable[..., float]) -> Verdict:
    """Check `cheapest(labels, p, cost_0_as_1, cost_1_as_0)`: a threshold with the lowest total cost.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_cheapest)


# --- weighted F1 ---

_TABLE = [[50, 10, 0], [6, 20, 4], [3, 1, 6]]


def _by_class(table: Table) -> list[tuple[int, int, float, float, float]]:
    """True count, called count, precision, recall and F1 of each class; a score without a divisor is 0."""
    rows = []
    for label, row in enumerate(table):
        hits, true, called = row[label], sum(row), sum(other[label] for other in table)
        scores = (hits / called if called else 0.0, hits / true if true else 0.0)
        rows.append((true, called, *scores, 2 * hits / (true + called) if true + called else 0.0))
    return rows


def _mean(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


def _mistaken_f1(table: Table) -> dict[str, float]:
    """What the likely mistakes give, by their hints."""
    true, called, precision, recall, f1 = zip(*_by_class(table), strict=True)
    p, r = _mean(true, precision), _mean(true, recall)
    return {
        "every class had one vote, so that is macro F1; weigh each class by how many examples truly belong to it": sum(
            f1
        )
        / len(f1),
        "that is the accuracy, which is also micro F1; F1 is taken of each class first, and averaged then": r,
        "that is the weighted precision; recall is missing": p,
        "you averaged precision and recall first and took F1 of the averages; the order matters: F1 of each class, "
        "then the average": 2 * p * r / (p + r),
        "you weighed each class by how often it was answered, the column's sum; the weight is how often it is true, "
        "the row's": _mean(called, f1),
        "that is the F1 of class 1 alone": f1[1],
        "the parts are added up but not divided by the number of examples": sum(
            t * f for t, f in zip(true, f1, strict=True)
        ),
        "you took the plain mean of precision and recall; F1 is their harmonic mean, 2PR / (P + R)": _mean(
            true, [(a + b) / 2 for a, b in zip(precision, recall, strict=True)]
        ),
        "half of it: the harmonic mean has a 2 in front, 2PR / (P + R)": _mean(true, f1) / 2,
    }


def _weighted_f1(answer: Callable[[Table], float]) -> str:
    got = number(answer([list(row) for row in _TABLE]))
    true, _, _, _, f1 = zip(*_by_class(_TABLE), strict=True)
    right = _mean(true, f1)
    for hint, wrong in _mistaken_f1(_TABLE).items():
        expect(not math.isclose(got, wrong, abs_tol=1e-6), hint)
    expect(
        math.isclose(got, right, abs_tol=1e-6),
        f"for {_TABLE} you gave {got:.4f}; the classes' F1 are {', '.join(f'{x:.4f}' for x in f1)}, and "
        f"{', '.join(map(str, true))} examples belong to them",
    )
    for table, case in (
        ([[0, 10], [0, 90]], "a class that is never answered, [[0, 10], [0, 90]]"),
        ([[5, 1, 0], [2, 8, 0], [0, 0, 0]], "a class that occurs neither as label nor as answer"),
    ):
        wanted = _mean([row[0] for row in _by_class(table)], [row[4] for row in _by_class(table)])
        try:
            value = number(answer(table))
        except ZeroDivisionError as error:
            raise Hint(
                f"right, until it meets {case}: there your code divides by zero. 2 hits / (true + called) equals "
                "2PR / (P + R) and has no such case while an example belongs to the class; a class without any has no "
                "weight"
            ) from error
        expect(math.isclose(value, wanted, abs_tol=1e-6), f"right, but for {case}: {wanted:.4f}, you gave {value:.4f}")
    return "F1 of each class from its row and its column, then the mean, weighted by the row sums"


# --- the puzzle ---


def _scores(tn: int, fp: int, fn: int, tp: int) -> tuple[float, float, float]:
    """Accuracy, weighted precision and weighted F1, rounded to three digits, as the chapter's `weighted_scores`."""
    rows, n = _by_class([[tn, fp], [fn, tp]]), tn + fp + fn + tp
    precision, f1 = (sum(row[0] * row[column] for row in rows) for column in (2, 4))
    return round((tn + tp) / n, 3), round(precision / n, 3), round(f1 / n, 3)


def _search(n: int, wanted: tuple[float, float, float]) -> list[Counts]:
    """All (tn, fp, fn, tp) of n examples, both labels among them, with these rounded scores."""
    errors = n - round(n * wanted[0])
    found: list[Counts] = []
    for positive in range(1, n):
        for fn in range(max(0, errors - n + positive), min(errors, positive) + 1):
            counts = (n - positive - errors + fn, errors - fn, fn, positive - fn)
            if _scores(*counts) == wanted:
                found.append(counts)
    return found


_CASES = ((50, 0.9, 0.906, 0.9), (100, 0.81, 0.819, 0.814))  # the second has a matrix with a 0 in it


def _differences(got: set[Counts], right: set[Counts], n: int, wanted: tuple[float, float, float]) -> None:
    """Raise the hint for the first way in which a list of matrices differs from the right one."""
    if got == right:
        return
    turned = {(tn, fn, fp, tp) for tn, fp, fn, tp in right}
    expect(
        got != turned,
        "false alarms and misses have changed places: fp are label 0 that were called 1, fn are label 1 called 0",
    )
    expect(
        got != {counts for counts in right if counts[0] + counts[1] == n // 2},
        "you assumed that half of the examples are positive; nobody said so. Let that number vary as well",
    )
    expect(
        got != {counts for counts in right if counts[1] <= counts[2]}
        and got != {counts for counts in right if counts[1] >= counts[2]},
        "only one order of the two kinds of errors is in your list; the figures allow both",
    )
    expect(
        got != {counts for counts in right if min(counts) > 0},
        "a count may be 0: a model can make all its errors on one label",
    )
    extra, missing = sorted(got - right), sorted(right - got)
    if extra:
        raise Hint(
            f"{extra[0]} is in your list; its scores are {_scores(*extra[0])}, rounded to three digits, and wanted "
            f"are {wanted}"
        )
    expect(
        not missing,
        f"for n = {n} and {wanted} you found {len(got)}; {missing[0] if missing else ()} fits too, and is not there",
    )


def _suspects(answer: Callable[..., list[Counts]]) -> str:
    for n, *figures in _CASES:
        wanted = (figures[0], figures[1], figures[2])
        result = answer(n, *wanted)
        expect(result is not None, "nothing came back from your function; is there a return?")
        expect(isinstance(result, list | tuple | set), f"expected a list of matrices, got {type(result).__name__}")
        got = []
        for counts in result:
            expect(
                isinstance(counts, Sequence) and len(counts) == 4,
                f"expected four counts for each matrix, (tn, fp, fn, tp); your list holds {counts!r}",
            )
            got.append(tuple(int(number(count)) for count in counts))
        for counts in got:
            expect(min(counts) >= 0, f"{counts} has a negative count; a label cannot have more errors than examples")
            expect(sum(counts) == n, f"{counts} holds {sum(counts)} examples, not {n}")
            both = counts[0] + counts[1] > 0 and counts[2] + counts[3] > 0
            expect(both, f"{counts} has examples of one label only; at least one of each was asked for")
        expect(got, f"your list is empty; for n = {n} and {wanted} there are {len(_search(n, wanted))} matrices")
        _differences(set(got), set(_search(n, wanted)), n, wanted)
        expect(len(got) == len(set(got)), "all there, but some more than once: each matrix should come once")
    return "every matrix that the figures allow is in the list, and no other; now see what they have in common"
