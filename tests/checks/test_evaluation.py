import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from course_lib import metrics
from course_lib.checks import evaluation as checks
from course_lib.checks.evaluation_choices import cost_at

# --- the answers: the starters, the solutions, and what people write instead ---


def no_return(function):
    def answer(*arguments):
        function(*arguments)

    return answer


def f1_starter(table: list) -> float: ...


def f1_solution(table):
    total = sum(sum(row) for row in table)
    added = 0.0
    for label, row in enumerate(table):
        hits, true = row[label], sum(row)
        called = sum(other[label] for other in table)
        if true:
            added += true * 2 * hits / (true + called)
    return added / total


def f1_with_numpy(table):
    table = np.array(table)
    true, called = table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * np.diag(table) / np.maximum(true + called, 1)
    return (f1 * true / table.sum()).sum()


def f1_with_scikit_learn(table):
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    true, said = zip(*pairs, strict=True)
    return f1_score(true, said, average="weighted", zero_division=0)


def by_class(table):
    table = np.array(table, dtype=float)
    true, called, hits = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    precision, recall = hits / called, hits / true
    return true, called, precision, recall, 2 * precision * recall / (precision + recall)


def f1_that_divides_by_zero(table):
    total, added = sum(map(sum, table)), 0.0
    for label, row in enumerate(table):
        precision, recall = row[label] / sum(other[label] for other in table), row[label] / sum(row)
        added += sum(row) * 2 * precision * recall / (precision + recall)
    return added / total


def f1_without_the_unanswered(table):
    """Leaves a class that is never answered out of the mean."""
    table = np.array(table)
    kept = [i for i in range(len(table)) if table[:, i].sum()]
    weight = sum(table[i].sum() for i in kept)
    return sum(table[i].sum() * 2 * table[i, i] / (table[i].sum() + table[:, i].sum()) for i in kept) / weight


F1S = {
    "every class had one vote": lambda t: by_class(t)[4].mean(),
    "micro F1": lambda t: np.trace(np.array(t)) / np.sum(t),
    "weighted precision": lambda t: np.average(by_class(t)[2], weights=by_class(t)[0]),
    "the order matters": lambda t: (
        2 / sum(1 / np.average(by_class(t)[column], weights=by_class(t)[0]) for column in (2, 3))
    ),
    "the column's sum": lambda t: np.average(by_class(t)[4], weights=by_class(t)[1]),
    "class 1 alone": lambda t: by_class(t)[4][1],
    "not divided by the number": lambda t: (by_class(t)[4] * by_class(t)[0]).sum(),
    "harmonic mean, 2PR / (P + R)": lambda t: np.average((by_class(t)[2] + by_class(t)[3]) / 2, weights=by_class(t)[0]),
    "half of it": lambda t: f1_solution(t) / 2,
    "divides by zero": f1_that_divides_by_zero,
    "right, but for a class that is never answered": f1_without_the_unanswered,
    "the classes' F1 are": lambda t: 0.5,
    "is there a return": no_return(f1_solution),
}


def weighted_scores(tn, fp, fn, tp):
    n0, n1 = tn + fp, fn + tp
    called0, called1 = tn + fn, fp + tp
    n = n0 + n1
    precision = n0 * tn / max(called0, 1) + n1 * tp / max(called1, 1)
    f1 = 2 * n0 * tn / (n0 + called0) + 2 * n1 * tp / (n1 + called1)
    return round((tn + tp) / n, 3), round(precision / n, 3), round(f1 / n, 3)


def suspects_starter(n: int, accuracy: float, precision: float, f1: float): ...


def suspects_solution(n, accuracy, precision, f1):
    wanted, errors = (accuracy, precision, f1), n - round(n * accuracy)
    found = []
    for positive in range(1, n):
        for fn in range(min(errors, positive) + 1):
            fp = errors - fn
            counts = n - positive - fp, fp, fn, positive - fn
            if min(counts) >= 0 and weighted_scores(*counts) == wanted:
                found.append(counts)
    return found


def by_brute_force(n, accuracy, precision, f1):
    """Right as well: tries every false alarm and miss, whatever the accuracy, and gives lists."""
    found = []
    for positive in range(n - 1, 0, -1):
        for fn in range(positive + 1):
            for fp in range(n - positive + 1):
                counts = [n - positive - fp, fp, fn, positive - fn]
                if weighted_scores(*counts) == (accuracy, precision, f1):
                    found.append(counts)
    return found


def those(keep):
    return lambda *figures: [counts for counts in suspects_solution(*figures) if keep(*counts)]


def negative_counts(n, accuracy, precision, f1):
    return [*suspects_solution(n, accuracy, precision, f1), (n + 2, -1, -1, 0)]


SUSPECTS = {
    "changed places": lambda *a: [(tn, fn, fp, tp) for tn, fp, fn, tp in suspects_solution(*a)],
    "half of the examples are positive": those(lambda tn, fp, fn, tp: tn + fp == fn + tp),
    "only one order": those(lambda tn, fp, fn, tp: fp < fn),
    "a count may be 0": those(lambda *counts: min(counts) > 0),
    "fits too": lambda *a: suspects_solution(*a)[1:],
    "is in your list; its scores are": lambda *a: [*suspects_solution(*a), (a[0] - 2, 1, 0, 1)],
    "negative count": negative_counts,
    "of one label only": lambda *a: [*suspects_solution(*a), (a[0] - 8, 8, 0, 0)],
    "examples, not": lambda *a: [(1, 1, 1, 1)],
    "is empty": lambda *a: [],
    "more than once": lambda *a: suspects_solution(*a) * 2,
    "four counts for each": lambda *a: [(fp, fn) for _, fp, fn, _ in suspects_solution(*a)],
    "a list of matrices": lambda *a: len(suspects_solution(*a)),
    "is there a return": no_return(suspects_solution),
}

FIRST, SECOND = (metrics.wilson_interval(right, 1000) for right in (880, 883))
CANNOT = "cannot tell from this"


def textbook(share, z=1.96, n=1000):
    margin = z * math.sqrt(share * (1 - share) / n)
    return share - margin, share + margin


DIFFER = {
    "each holds the other score": (FIRST, SECOND, "epoch 3 is better"),
    "do not show that two scores are equal": (FIRST, SECOND, "they are equal"),
    "choose one of": (FIRST, SECOND, "maybe"),
    "one of three sentences": (FIRST, SECOND, 0.3),
    "have changed places": (SECOND, FIRST, CANNOT),
    "percentages": (tuple(100 * end for end in FIRST), SECOND, CANNOT),
    "one standard error": (textbook(0.88, z=1), textbook(0.883, z=1), CANNOT),
    "99% interval": (textbook(0.88, z=2.576), SECOND, CANNOT),
    "90% interval": (textbook(0.88, z=1.645), SECOND, CANNOT),
    "for 100 reviews": (metrics.wilson_interval(88, 100), SECOND, CANNOT),
    "root of n": (textbook(0.88, n=1), textbook(0.883, n=1), CANNOT),
    "takes the two counts": (FIRST, (0.7, 0.8), CANNOT),
    "from low to high": (FIRST[::-1], SECOND, CANNOT),
    "expected (low, high)": (0.88, 0.883, CANNOT),
    "a tuple of three": "they differ",
}


def cheapest_starter(labels, p, cost_0_as_1: float, cost_1_as_0: float) -> float: ...


def cheapest_solution(labels, p, cost_0_as_1, cost_1_as_0):
    labels, p = np.asarray(labels), np.asarray(p)

    def cost(threshold):
        called = p >= threshold
        return cost_0_as_1 * (called & (labels == 0)).sum() + cost_1_as_0 * (~called & (labels == 1)).sum()

    return min([*np.unique(p).tolist(), math.inf], key=cost)


def between_the_scores(labels, p, cost_0_as_1, cost_1_as_0):
    """Right as well: the middles between neighbors, and one beyond each end."""
    ends = sorted(set(p))
    tried = [0.0, *((a + b) / 2 for a, b in pairwise(ends)), 1.1]
    return min(tried, key=lambda t: cost_at(t, labels, p, cost_0_as_1, cost_1_as_0))


def costs_of(labels, p, a, b, tried=None):
    return {t: cost_at(t, labels, p, a, b) for t in (tried or [*p, math.inf])}


def least(costs):
    return min(costs, key=costs.get)


CHEAPEST = {
    "the lowest cost itself": lambda y, p, a, b: min(costs_of(y, p, a, b).values()),
    "min, not max": lambda y, p, a, b: max(costs_of(y, p, a, b), key=costs_of(y, p, a, b).get),
    "have changed places": lambda y, p, a, b: cheapest_solution(y, p, b, a),
    "the fewest errors": lambda y, p, a, b: max(
        t for t, cost in costs_of(y, p, 1, 1).items() if cost == min(costs_of(y, p, 1, 1).values())
    ),
    "a position in the list": lambda y, p, a, b: list(p).index(cheapest_solution(y, p, a, b)),
    "0.5 whatever the costs": lambda y, p, a, b: 0.5,
    "with >=": lambda y, p, a, b: max(q for q, label in zip(p, y, strict=True) if not label),
    "between two of those you tried": lambda y, p, a, b: least(costs_of(y, p, a, b, [k / 10 for k in range(11)])),
    "math.inf is allowed": lambda y, p, a, b: least(costs_of(y, p, a, b, list(p))),
    "is a threshold too": lambda y, p, a, b: least(costs_of(y, p, a, b, [*sorted(p)[1:], math.inf])),
    "is possible": lambda y, p, a, b: 0.9655,
    "is nan": lambda y, p, a, b: math.nan,
    "is there a return": no_return(cheapest_solution),
}

EXERCISES = {
    "weighted_f1": (f1_starter, [f1_solution, f1_with_numpy, f1_with_scikit_learn], F1S),
    "suspects": (
        suspects_starter,
        [suspects_solution, by_brute_force, lambda *a: set(suspects_solution(*a))],
        SUSPECTS,
    ),
    "differ": (
        (..., ..., ...),
        [
            (FIRST, SECOND, CANNOT),
            (list(FIRST), tuple(SECOND), "Cannot tell from this."),
            (textbook(0.88), textbook(0.883), CANNOT),
            ((0.859, 0.899), (0.862, 0.902), CANNOT),
        ],
        DIFFER,
    ),
    "cheapest": (cheapest_starter, [cheapest_solution, between_the_scores], CHEAPEST),
}


def test_an_exercise_of_three_parts_is_open_while_one_part_is():
    assert checks.differ((FIRST, SECOND, ...)).state == "open"


def test_the_sources_figures_allow_what_the_chapter_says():
    found = suspects_solution(1000, 0.828, 0.847, 0.826)
    assert len(found) == 60
    balanced = {(fp, fn) for tn, fp, fn, tp in found if tn + fp == 500}
    assert balanced == {(28, 144), (144, 28), (27, 145), (145, 27)}
    for tn, fp, fn, tp in found:
        table = np.repeat([0, 0, 1, 1], [tn, fp, fn, tp]), np.repeat([0, 1, 0, 1], [tn, fp, fn, tp])
        scored = metrics.precision_recall_f1(*table, average="weighted")
        assert [round(score, 3) for score in scored] == [0.847, 0.828, 0.826]


def test_three_reviews_net_are_never_a_difference():
    y = np.ones(1000, dtype=int)
    for lost in (0, 1, 10, 117):
        first, second = y.copy(), y.copy()
        first[: lost + 3] = 0
        second[lost + 3 : 2 * lost + 3] = 0
        assert metrics.mcnemar(y, first, second).p_value >= 0.25


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "10_evaluation.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    table = np.repeat([0, 0, 1, 1], [80, 20, 10, 90]), np.repeat([0, 1, 0, 1], [80, 20, 10, 90])
    assert right == pytest.approx([metrics.precision_recall_f1(*table).precision, 90 / (90 + 9 * 10)], abs=5e-4)


def test_the_quiz_log_is_possible_and_not_for_one_class():
    fitting = [
        (positive, fn)
        for positive in range(250, 750)
        for fn in range(111)
        if weighted_scores(1000 - positive - 110 + fn, 110 - fn, fn, positive - fn)[1:] == (0.905, 0.887)
    ]
    assert fitting
    assert 2 * 0.905 * 0.89 / (0.905 + 0.89) > 0.887
