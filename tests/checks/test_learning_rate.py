import json
import math
from pathlib import Path

import pytest

from course_lib.checks import learning_rate as checks
from course_lib.schedules import Constant, Cosine

# --- the answers: the starter, the solution, and what people write instead ---

LEFT = {
    "no number any more": (92, 0.91),
    "170 million": (90, 0.89),
    "nobody can overlook": (85, 0.84),
    "passes ln 103": (80, 0.79),
    "first large jump": (75, 0.74),
    "already higher than the one before it": (70, 0.69),
    "the best of the run": (60, 0.59),
    "came back, lower than before": (25, 0.24),
    "back down to 3.23": (40, 0.39),
    "never got there": (65, 2.0),
    "rate of its row": (65, 0.59),
    "is not it": (62, 0.6),
    "a step and a rate": 65,
}


def multiplier_starter(step: int, total: int, warmup: int) -> float: ...


def multiplier_solution(step, total, warmup):
    if step < warmup:
        return step / warmup
    if step >= total:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def with_the_library(step, total, warmup):
    return Cosine(total_steps=total, warmup_steps=warmup)(step)


def as_a_square(step, total, warmup):
    """Right as well: half of 1 + cos is the square of the cosine of half the angle."""
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / (total - warmup))
    return math.cos(math.pi / 2 * progress) ** 2


def variant(decay=None, climb=None, progress=None, end=True):
    """The solution with one of its parts exchanged."""
    decay = decay or (lambda p: 0.5 * (1 + math.cos(math.pi * p)))
    climb = climb or (lambda s, w: s / w)
    progress = progress or (lambda s, n, w: (s - w) / (n - w))

    def answer(step, total, warmup):
        if step < warmup:
            return climb(step, warmup)
        if end and step >= total:
            return 0.0
        return decay(progress(step, total, warmup))

    return answer


def without_warmup(step, total, warmup):
    return 0.5 * (1 + math.cos(math.pi * step / total)) if step < total else 0.0


def divides_by_the_warmup(step, total, warmup):
    return min(step / warmup, multiplier_solution(step, total, warmup)) if step < total else 0.0


def cut_short(step, total, warmup):
    return multiplier_solution(step, total, min(warmup, total // 2))


def nothing_without_warmup(step, total, warmup):
    return multiplier_solution(step, total, warmup) if warmup else 1.0


def no_return(step, total, warmup):
    multiplier_solution(step, total, warmup)


MULTIPLIERS = {
    "no warm-up in it": without_warmup,
    "starts at 1/warmup": variant(climb=lambda s, w: (s + 1) / w),
    "one update too early": variant(climb=lambda s, w: s / (w - 1)),
    "over `total` from step 0": variant(progress=lambda s, n, w: s / n),
    "never arrives at 0": variant(progress=lambda s, n, w: (s - w) / n),
    "rises again": variant(end=False),
    "radians": variant(lambda p: 0.5 * (1 + math.cos(180 * p))),
    "becomes negative": variant(lambda p: math.cos(math.pi * p)),
    "begins at 2": variant(lambda p: 1 + math.cos(math.pi * p)),
    "full wave": variant(lambda p: 0.5 * (1 + math.cos(2 * math.pi * p))),
    "quarter of a wave": variant(lambda p: math.cos(math.pi / 2 * p)),
    "straight line; a cosine": variant(lambda p: 1 - p),
    "jumps to 0 and climbs": variant(lambda p: 0.5 * (1 - math.cos(math.pi * p))),
    "one update ahead": variant(progress=lambda s, n, w: (s + 1 - w) / (n - w)),
    "ends at total - 1": variant(progress=lambda s, n, w: min(1, (s - w) / (n - w - 1))),
    "divides by zero": divides_by_the_warmup,
    "with warmup=0": nothing_without_warmup,
    "still climbing": cut_short,
    "is there a return": no_return,
    "expected 0.25": variant(climb=lambda s, w: (s / w) ** 2 if s > 1 else s / w),
}


def length_starter(steps: list, rates: list, peak: float) -> float: ...


def length_solution(steps, rates, peak):
    climb = (rates[1] - rates[0]) / (steps[1] - steps[0])
    return peak / climb if climb else 0.0


def length_rounded(steps, rates, peak):
    if rates[0] == rates[1]:
        return 0
    return round((steps[1] - steps[0]) * peak / (rates[1] - rates[0]))


def through_all_rows(steps, rates, peak):
    return peak * (steps[-1] - steps[0]) / (rates[-1] - rates[0]) if rates[-1] != rates[0] else 0


def from_the_first_row(steps, rates, peak):
    return steps[0] * peak / rates[0]


def where_it_shows_the_peak(steps, rates, peak):
    climb = (rates[1] - rates[0]) / (steps[1] - steps[0])
    return steps[0] + (peak - rates[0]) / climb if climb else 0


LENGTHS = {
    "last step of the log": lambda s, r, p: s[-1],
    "peak holds the first rate": lambda s, r, p: p / r[0],
    "climb of one step": lambda s, r, p: (r[1] - r[0]) / (s[1] - s[0]),
    "length of the run": lambda s, r, p: 468,
    "before it steps": from_the_first_row,
    "51 is the step": where_it_shows_the_peak,
    "expected 50": lambda s, r, p: 500,
    "3e-5 / 6e-8": lambda s, r, p: 450,
    "two rows of the climb": through_all_rows,
    "you divide by zero": lambda s, r, p: p * (s[1] - s[0]) / (r[1] - r[0]),
    "no climb is to be seen": lambda s, r, p: length_solution(s, r, p) or 5,
    "is there a return": lambda s, r, p: print(end=""),
}

LAST = {
    "2.67e-7": (370, 370),
    "after 375 of 375": (375, 375),
    "last update of all": (374, 375),
    "used by the update that came next": (369, 369),
    "one line too early": (359, 360),
    "what is left": (6, 370),
    "a cosine would": (345, 350),
    "look for 3.2e-7": (300, 300),
    "you wrote 375": (369, 375),
    "two numbers": 370,
}

EXERCISES = {
    "left_for_good": ((..., ...), [(65, 0.64), (65.0, 0.65)], LEFT),
    "multiplier": (multiplier_starter, [multiplier_solution, with_the_library, as_a_square], MULTIPLIERS),
    "warmup_length": (length_starter, [length_solution, length_rounded], LENGTHS),
    "last_log": ((..., ...), [(369, 370), (369.0, 370), (375 - 3.2e-7 / 2e-5 * 375, 370)], LAST),
}


def test_the_log_of_the_blow_up_is_what_the_answer_says():
    steps, losses, rates = zip(*checks.BLOW_UP, strict=True)
    rising = [i for i in range(1, len(losses)) if all(a < b for a, b in zip(losses[i - 1 :], losses[i:], strict=False))]
    assert steps[rising[0]] == 65
    warmup = Constant(warmup_steps=200)
    assert list(rates) == pytest.approx([2 * warmup(step - 1) for step in steps])


def test_a_half_answered_pair_is_open():
    assert checks.left_for_good((65, ...)).state == "open"


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "09_learning_rate.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == pytest.approx(
        [0.004 * Constant(warmup_steps=200)(50), length_solution([50, 100], [2e-5, 4e-5], 2e-4)]
    )
