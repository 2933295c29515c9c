import json
import math
import statistics
from pathlib import Path

import pytest

from course_lib.checks import overfitting as checks
from course_lib.checks.overfitting_causes import WORDS

# --- the answers: the starter, the solution, and what people write instead ---

KEPT = {
    "by loss: did you count": (2, 5),
    "first that was worse": (4, 7),
    "by loss: after epoch 5": (5, 8),
    "never came to it: count the epochs after 3": (6, 10),
    "Read the next column": (11, 11),
    "Patience ended the run long before": (12, 12),
    "the highest validation loss": (1, 6),
    "the other way round": (6, 3),
    "by loss: epoch 7 is not it": (7, 6),
    "by F1: did you count": (3, 5),
    "a patience of 2 bears one": (3, 3),
    "equals epoch 6": (3, 7),
    "by F1: after epoch 8": (3, 8),
    "never came to it: count the epochs after 6": (3, 10),
    "It does not decide here": (3, 11),
    "Patience ended the run before": (3, 12),
    "that is the lowest F1": (3, 1),
    "by F1: epoch 4 is not it": (3, 4),
    "two epochs": 3,
}


def stop_starter(losses: list, patience: int) -> tuple: ...


def stop_solution(losses, patience):
    kept = 1
    for epoch in range(1, len(losses) + 1):
        if losses[epoch - 1] < losses[kept - 1]:
            kept = epoch
        if epoch - kept >= patience:
            break
    return epoch, kept


def stop_by_slices(losses, patience):
    """Right as well, and written otherwise; a list for a pair."""
    for epoch in range(1, len(losses) + 1):
        kept = losses.index(min(losses[:epoch])) + 1
        if epoch == kept + patience:
            return [epoch, kept]
    return [len(losses), losses.index(min(losses)) + 1]


def variant(*, late=0, reset=True, previous=False, tie=False, first=1, swapped=False):
    def answer(losses, patience):
        best, kept, stale = math.inf, first, 0
        for epoch, loss in enumerate(losses, first):
            bar = losses[epoch - first - 1] if previous and epoch > first else best
            if loss < bar or (tie and loss == bar):
                stale = 0 if reset else stale
            else:
                stale += 1
            if loss < best or (tie and loss == best):
                best, kept = loss, epoch
            if stale >= patience + late:
                break
        return (kept, epoch) if swapped else (epoch, kept)

    return answer


def keeps_the_last(losses, patience):
    return (stop_solution(losses, patience)[0],) * 2


def looks_past_the_stop(losses, patience):
    return stop_solution(losses, patience)[0], losses.index(min(losses)) + 1


def runs_to_the_end(losses, patience):
    return len(losses), losses.index(min(losses)) + 1


def forgets_to_end(losses, patience):
    stopped, kept = stop_solution(losses, patience)
    return (stopped, kept) if stopped - kept >= patience else None


STOPS = {
    "counted from 0": variant(first=0),
    "are exchanged": variant(swapped=True),
    "keep the epoch of the stop": keeps_the_last,
    "never reached": looks_past_the_stop,
    "whole list was run": runs_to_the_end,
    "one epoch late": variant(late=1),
    "in a row": variant(reset=False),
    "the one before": variant(previous=True),
    "equals the best": variant(tie=True),
    "is there a return": forgets_to_end,
    "expected two numbers": lambda losses, patience: stop_solution(losses, patience)[1],
    "expected (5, 3)": lambda losses, patience: (4, 3),
}


def paired_starter(changed: list, baseline: list) -> tuple: ...


def paired_solution(changed, baseline):
    differences = [a - b for a, b in zip(changed, baseline, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    squares = sum((d - mean) ** 2 for d in differences)
    return mean, 2.776 * math.sqrt(squares / (n - 1)) / math.sqrt(n)


def with_statistics(changed, baseline):
    differences = [a - b for a, b in zip(changed, baseline, strict=True)]
    return [statistics.mean(differences), 2.776 * statistics.stdev(differences) / 5**0.5]


def half(change):
    """The right mean, and another half-width made of (differences, changed, baseline)."""

    def answer(changed, baseline):
        differences = [a - b for a, b in zip(changed, baseline, strict=True)]
        return statistics.mean(differences), change(differences, changed, baseline)

    return answer


def unpaired(d, changed, baseline):
    return 2.776 * math.hypot(statistics.stdev(changed), statistics.stdev(baseline)) / 5**0.5


PAIRED = {
    "sign is turned": lambda c, b: paired_solution(b, c),
    "sum of the differences": lambda c, b: (sum(c) - sum(b), paired_solution(c, b)[1]),
    "mean difference: expected": lambda c, b: (statistics.median(c) - 0.5, 0.0),
    "did not use the pairs": half(unpaired),
    "n - 1 = 4": half(lambda d, *_: 2.776 * statistics.pstdev(d) / 5**0.5),
    "a single difference": half(lambda d, *_: 2.776 * statistics.stdev(d)),
    "factor t is missing": half(lambda d, *_: statistics.stdev(d) / 5**0.5),
    "spread of the differences": half(lambda d, *_: statistics.stdev(d)),
    "1.96": half(lambda d, *_: 1.96 * statistics.stdev(d) / 5**0.5),
    "whole width": half(lambda d, *_: 2 * 2.776 * statistics.stdev(d) / 5**0.5),
    "half-width: expected": half(lambda d, *_: max(d) - min(d)),
    "is there a return": lambda c, b: print(end=""),
    "two numbers": lambda c, b: paired_solution(c, b)[0],
}


def but(place, word):
    return tuple(word if i == place else right for i, right in enumerate(WORDS))


CAUSES = {
    "loses nothing by dropout": but(0, "dropout"),
    "run A: the model's loss on its training set": but(0, "easier"),
    "run A: nothing was found": but(0, "leak"),
    "the epoch's average hides nothing": but(1, "average"),
    "run B: without dropout the training set": but(1, "easier"),
    "run B: nothing was found": but(1, "leak"),
    "costs 0.52 on its training set too": but(2, "average"),
    "still 0.52": but(2, "dropout"),
    "newly collected": but(2, "leak"),
    "run D: measured anew or not": but(3, "average"),
    "run D: with or without dropout": but(3, "dropout"),
    "two fifths of these": but(3, "easier"),
    "expected one of": but(2, "luck"),
    "four words": ("average", "dropout"),
}

EXERCISES = {
    "kept": ((..., ...), [(3, 6), (3.0, 6.0)], KEPT),
    "early_stop": (stop_starter, [stop_solution, stop_by_slices, variant()], STOPS),
    "paired": (paired_starter, [paired_solution, with_statistics], PAIRED),
    "causes": ((..., ..., ..., ...), [WORDS, (" Average", "DROPOUT", "easier ", "leak")], CAUSES),
}


# --- what else must hold ---


def column(index):
    return [row[index] for row in checks.TABLE]


def test_the_table_gives_what_the_check_says():
    assert stop_solution(column(2), checks.PATIENCE) == (5, 3)
    assert stop_solution([-f1 for f1 in column(3)], checks.PATIENCE) == (8, 6)
    assert min(checks.TABLE, key=lambda row: row[1])[0] == 11
    assert min(checks.TABLE, key=lambda row: row[2])[0] == 6
    assert max(checks.TABLE, key=lambda row: row[3])[0] == 10
    assert column(0) == list(range(1, 13))


def test_pairs_decide_what_the_same_numbers_unpaired_cannot():
    changed, baseline = checks._CHANGED, checks._BASELINE
    mean, width = paired_solution(changed, baseline)
    assert width < mean < unpaired(None, changed, baseline)


@pytest.mark.parametrize("answer", [(3, ...), (..., 6)])
def test_a_half_answered_pair_is_open(answer):
    assert checks.kept(answer).state == "open"


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "11_overfitting.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    losses = [0.60, 0.52, 0.50, 0.51, 0.49, 0.53, 0.50, 0.54, 0.48]
    assert right == [stop_solution(losses, 3)[1]]
    assert ", ".join(f"{loss:.2f}" for loss in losses) in quiz()[0]["question"]
