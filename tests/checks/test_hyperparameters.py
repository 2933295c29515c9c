import json
import math
import statistics
from pathlib import Path

import pytest

from course_lib.checks import hyperparameters as checks
from course_lib.checks.hyperparameters_words import _PROVEN as PROVEN
from course_lib.checks.hyperparameters_words import _RIGHT as FAIR_WORDS

# --- the answers: the starter, the solution, and what people write instead ---

RATE = 2e-5 * (375 - 279) / 375

REPORT = {
    "in all three epochs": (6000, 160, RATE),
    "that is the number of updates. Each": (375, 160, RATE),
    "the number of updates in an epoch": (125, 160, RATE),
    "size of IMDb": (25_000, 160, RATE),
    "the whole run and not one epoch": (18_000, 160, RATE),
    "not 1000": (1000, 160, RATE),
    "that is one batch": (2000, 16, RATE),
    "the number of batches": (2000, 10, RATE),
    "a line shows a mean: of all": (2000, 1, RATE),
    "read since the start": (2000, 4480, RATE),
    "the whole training set": (2000, 2000, RATE),
    "not 40": (2000, 40, RATE),
    "after step 280": (2000, 160, 2e-5 * 95 / 375),
    "rises with the step": (2000, 160, 2e-5 * 280 / 375),
    "that is the setting": (2000, 160, 2e-5),
    "share of the peak": (2000, 160, 96 / 375),
    "does not stand": (2000, 160, 1e-6),
    "three numbers": 2000,
}


def disk_starter(parameters: int, steps: int, every: int, keep: int | None): ...


def disk_solution(parameters, steps, every, keep):
    made = math.ceil(steps / every)
    stay = made if keep is None else min(keep, made)
    return 12 * parameters * stay


def by_listing(parameters, steps, every, keep):
    """Right as well, and written otherwise."""
    saved = sorted({*range(every, steps + 1, every), steps})
    return sum(4 * (1 + 2) * parameters for _ in (saved if keep is None else saved[-keep:]))


def each(number):
    return lambda p, s, e, k: disk_solution(p, s, e, k) / 12 * number


DISK = {
    "weights alone": each(4),
    "two moments alone": each(8),
    "made anew": each(16),
    "takes 4 bytes": each(3),
    "in gigabytes": each(12e-9),
    "one is missing": lambda p, s, e, k: 12 * p * (s // e if k is None else min(k, s // e)),
    "one too many": lambda p, s, e, k: 12 * p * (s // e + 1 if k is None else min(k, s // e + 1)),
    "at each update": lambda p, s, e, k: 12 * p * (s if k is None else min(k, s)),
    "changes nothing": lambda p, s, e, k: disk_solution(p, s, e, None),
    "more than were made": lambda p, s, e, k: 12 * p * (k or math.ceil(s / e)),
    "expected 456,000": lambda p, s, e, k: 20 * p,
    "is there a return": lambda p, s, e, k: print(end=""),
}

FAIR = {
    "look at step 200": ("nothing", *FAIR_WORDS[1:]),
    "more updates are": ("updates", *FAIR_WORDS[1:]),
    "more reading is": ("reviews read", *FAIR_WORDS[1:]),
    "how many batches of 8": ("schedule", "nothing", "reviews read", "nothing"),
    "both read each review 3 times": ("schedule", "reviews read", "reviews read", "nothing"),
    "both stand at half": ("schedule", "schedule", "reviews read", "nothing"),
    "375 batches of 8": (*FAIR_WORDS[:2], "nothing", "nothing"),
    "both make 375": (*FAIR_WORDS[:2], "updates", "nothing"),
    "at each update the rate is the same": (*FAIR_WORDS[:2], "schedule", "nothing"),
    "375 in both": (*FAIR_WORDS[:3], "updates"),
    "in the same order": (*FAIR_WORDS[:3], "reviews read"),
    "equal at each step": (*FAIR_WORDS[:3], "schedule"),
    "expected one of": (*FAIR_WORDS[:3], "luck"),
    "four words": FAIR_WORDS[:3],
}


def over_starter(changed: list, base: list) -> tuple: ...


def over_solution(changed, base):
    each = [sum(a) / len(a) - sum(b) / len(b) for a, b in zip(changed, base, strict=True)]
    n = len(each)
    mean = sum(each) / n
    squares = sum((d - mean) ** 2 for d in each)
    return mean, 1.96 * math.sqrt(squares / (n - 1) / n)


def with_numpy(changed, base):
    import numpy as np

    each = (np.array(changed) - np.array(base)).mean(axis=1)
    return [each.mean(), 1.96 * each.std(ddof=1) / len(each) ** 0.5]


def half(change):
    """The right mean, and another half-width made of (differences of reviews, changed, base)."""

    def answer(changed, base):
        each = [statistics.mean(a) - statistics.mean(b) for a, b in zip(changed, base, strict=True)]
        return statistics.mean(each), change(each, changed, base)

    return answer


def pooled(each, changed, base):
    single = [a - b for x, y in zip(changed, base, strict=True) for a, b in zip(x, y, strict=True)]
    return 1.96 * statistics.stdev(single) / math.sqrt(len(single))


def of_seeds(each, changed, base):
    columns = [[statistics.mean(column) for column in zip(*table, strict=True)] for table in (changed, base)]
    return 2.776 * statistics.stdev([a - b for a, b in zip(*columns, strict=True)]) / 5**0.5


def unpaired(each, changed, base):
    rows = [[statistics.mean(row) for row in table] for table in (changed, base)]
    return 1.96 * math.hypot(*map(statistics.stdev, rows)) / math.sqrt(len(each))


OVER = {
    "sign is turned": lambda c, b: over_solution(b, c),
    "that is a sum": lambda c, b: (5 * over_solution(c, b)[0], 0.1),
    "mean difference: expected": lambda c, b: (0.9, 0.1),
    "a review of its own": half(pooled),
    "spread between seeds": half(of_seeds),
    "did not use the pairs": half(unpaired),
    "n - 1": half(lambda d, *_: 1.96 * statistics.pstdev(d) / math.sqrt(len(d))),
    "2.776 is for five": half(lambda d, *_: 2.776 * statistics.stdev(d) / math.sqrt(len(d))),
    "a single review": half(lambda d, *_: 1.96 * statistics.stdev(d)),
    "factor 1.96 is missing": half(lambda d, *_: statistics.stdev(d) / math.sqrt(len(d))),
    "spread of the differences": half(lambda d, *_: statistics.stdev(d)),
    "whole width": half(lambda d, *_: 2 * 1.96 * statistics.stdev(d) / math.sqrt(len(d))),
    "half-width: expected": half(lambda d, *_: max(d) - min(d)),
    "is there a return": lambda c, b: print(end=""),
    "two numbers": lambda c, b: over_solution(c, b)[0],
}


def but(place, word):
    return tuple(word if i == place else right for i, right in enumerate(PROVEN))


VERDICTS = {
    "A: a higher macro F1": but(0, "worse"),
    "A: the whole interval": but(0, "cannot tell"),
    "B: the same number": but(1, "better"),
    "B: F1 went up": but(1, "worse"),
    "C: the loss went down": but(2, "worse"),
    "C: 0 lies outside": but(2, "cannot tell"),
    "D: the interval holds 0": but(3, "worse"),
    "D: F1 went down": but(3, "better"),
    "D: an interval around 0": but(3, "equal"),
    "E: it was chosen": but(4, "better"),
    "E: F1 went up": but(4, "worse"),
    "expected one of": but(4, "perhaps"),
    "five verdicts": PROVEN[:3],
}

EXERCISES = {
    "report": ((..., ..., ...), [(2000, 160, RATE), (2000, 160.0, 5.1e-6)], REPORT),
    "disk": (disk_starter, [disk_solution, by_listing], DISK),
    "fair": ((..., ..., ..., ...), [FAIR_WORDS, (" Schedule", "UPDATES", "reviews read ", "nothing")], FAIR),
    "over_reviews": (over_starter, [over_solution, with_numpy], OVER),
    "verdicts": ((..., ..., ..., ..., ...), [PROVEN, tuple(f"{word} from this" for word in PROVEN)], VERDICTS),
}


# --- what else must hold ---


def test_the_made_up_reviews_tell_the_mistakes_apart():
    right, mistakes = checks._halves()
    values = [right, *(value for group in mistakes.values() for value in group)]
    assert all(abs(a / b - 1) > 1e-3 for i, a in enumerate(values) for b in values[:i])


def test_a_hard_review_is_hard_for_all_so_counting_answers_is_too_sure():
    right, _ = checks._halves()
    assert pooled(None, checks._CHANGED, checks._BASE) < 0.9 * right


def test_the_hints_on_the_plans_are_right():
    """Step 200 of both plans; half the rate after half of the reviews."""
    assert [f"{2e-5 * (1 - 200 / total) * 1e5:.2f}" for total in (375, 250)] == ["0.93", "0.40"]
    assert (3 * 2000 / 8, 3 * 2000 / 16, 375 * 8 / 2000) == (750, 375, 1.5)


@pytest.mark.parametrize("answer", [(..., 160, RATE), (2000, ..., RATE), (2000, 160, ...)])
def test_a_half_answered_report_is_open(answer):
    assert checks.report(answer).state == "open"


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "17_hyperparameters.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == [round(disk_solution(66_955_010, 4000, 500, 2) / 1e9, 2)]
