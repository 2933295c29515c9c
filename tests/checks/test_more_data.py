import json
import math
from pathlib import Path

import numpy as np
import pytest

from course_lib.learning_curves import Parameters, PowerLaw

# --- the answers: the starter, the solution, and what people write instead ---


def doubling_starter(error: float, floor: float, exponent: float) -> float: ...


def doubling_solution(error, floor, exponent):
    return floor + (error - floor) / 2**exponent


DOUBLINGS = {
    "divided the whole error": lambda e, f, b: e / 2**b,
    "that part and the floor": lambda e, f, b: (e - f) / 2**b,
    "exponent of 1": lambda e, f, b: f + (e - f) / 2,
    "no factor": lambda e, f, b: f + (e - f) * b,
    "the error rises": lambda e, f, b: f + (e - f) * 2**b,
    "the exponent, squared": lambda e, f, b: f + (e - f) / b**2,
    "took the floor away twice": lambda e, f, b: (e - f) / 2**b - f,
    "what the doubling takes off": lambda e, f, b: (e - f) * (1 - 2**-b),
    "as it was": lambda e, f, b: e,
    "no floor and an exponent of 0.3": lambda e, f, b: f + (e - f) / 2**0.4,
    "expected 0.2016": lambda e, f, b: 0.5,
    "is there a return": lambda e, f, b: print(end=""),
}


def reviews_starter(wanted: float, floor: float, scale: float, exponent: float) -> float: ...


def reviews_solution(wanted, floor, scale, exponent):
    if wanted <= floor:
        return math.inf
    return (scale / (wanted - floor)) ** (1 / exponent)


def whole_reviews(wanted, floor, scale, exponent):
    n = reviews_solution(wanted, floor, scale, exponent)
    return n if n == math.inf else math.ceil(n)


def by_logarithms(wanted, floor, scale, exponent):
    if wanted > floor:
        return math.exp((math.log(scale) - math.log(wanted - floor)) / exponent)
    return float("inf")


def zero_at_the_floor(wanted, floor, scale, exponent):
    return reviews_solution(wanted, floor, scale, exponent) if wanted > floor else 0


REVIEWS = {
    "floor is not in it": lambda w, f, a, b: (a / w) ** (1 / b),
    "added the floor": lambda w, f, a, b: (a / (w + f)) ** (1 / b),
    "to the power of 1 / exponent": lambda w, f, a, b: (a / (w - f)) ** b,
    "upside down": lambda w, f, a, b: ((w - f) / a) ** (1 / b),
    "not a factor": lambda w, f, a, b: a / (w - f) / b,
    "One more step": lambda w, f, a, b: a / (w - f),
    "ZeroDivisionError": lambda w, f, a, b: (a / (w - f)) ** (1 / b),
    "ValueError": lambda w, f, a, b: math.exp((math.log(a) - math.log(w - f)) / b),
    "negative number": lambda w, f, a, b: math.inf if w == f else (a / (w - f)) ** (1 / b),
    "no number is enough": zero_at_the_floor,
    "expected 1789": lambda w, f, a, b: 1000,
    "is there a return": lambda w, f, a, b: print(end=""),
}


def worth_starter(error: float, sizes: list, errors: list) -> float: ...


def worth_solution(error, sizes, errors):
    logs = np.log(sizes)
    return np.exp(np.interp(error, errors[::-1], logs[::-1]))


def worth_in_doublings(error, sizes, errors):
    return 2 ** float(np.interp(error, errors[::-1], np.log2(sizes)[::-1]))


def worth_on_both_logarithms(error, sizes, errors):
    return float(np.exp(np.interp(np.log(error), np.log(errors[::-1]), np.log(sizes[::-1]))))


def worth_in_place(error, sizes, errors):
    sizes.reverse()
    errors.reverse()
    return worth_solution(error, sizes[::-1], errors[::-1])


def worth_extended(error, sizes, errors):
    """Goes on beyond the last size in a straight line."""
    if error < errors[-1]:
        return sizes[-1] * 2
    return worth_solution(error, sizes, errors)


WORTHS = {
    "Reverse both": lambda e, s, r: np.exp(np.interp(e, r, np.log(s))),
    "errors and not the sizes": lambda e, s, r: np.exp(np.interp(e, r[::-1], np.log(s))),
    "interpolate log(size)": lambda e, s, r: np.interp(e, r[::-1], s[::-1]),
    "raise e to it": lambda e, s, r: np.interp(e, r[::-1], np.log(s)[::-1]),
    "size above": lambda e, s, r: min(n for n, x in zip(s, r, strict=True) if x <= e),
    "size below": lambda e, s, r: max(n for n, x in zip(s, r, strict=True) if x >= e),
    "changed the lists": worth_in_place,
    "expected 800": worth_extended,
    "expected 141.4": lambda e, s, r: 5.0,
    "is there a return": lambda e, s, r: print(end=""),
}

OFFERS = {
    "worth in good ones": "A",
    "copies add nothing": "C",
    "had stopped falling": " d ",
    "is no offer": "E",
    "letter in quotes": 2,
}

EXERCISES = {
    "after_doubling": (
        doubling_starter,
        [doubling_solution, lambda e, f, b: f + 2**-b * (e - f), lambda e, f, b: e - (e - f) * (1 - 2**-b)],
        DOUBLINGS,
    ),
    "reviews_for": (reviews_starter, [reviews_solution, whole_reviews, by_logarithms], REVIEWS),
    "worth": (worth_starter, [worth_solution, worth_in_doublings, worth_on_both_logarithms], WORTHS),
    "best_buy": (..., ["B", " b"], OFFERS),
}


@pytest.mark.parametrize("n", [50, 800, 12_345])
def test_the_first_two_solutions_agree_with_the_library(n):
    floor, scale, exponent = 0.03, 1.7, 0.35
    curve = PowerLaw(floor, scale, exponent, Parameters(0, 0, 0), np.zeros((3, 3)), math.inf)
    error, after = (float(curve.predict(size).error) for size in (n, 2 * n))
    assert doubling_solution(error, floor, exponent) == pytest.approx(after)
    assert reviews_solution(error, floor, scale, exponent) == pytest.approx(n)


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "04_more_data.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == pytest.approx([100 * doubling_solution(0.20, 0.10, 1), reviews_solution(0.1, 0, 2, 0.5)])
