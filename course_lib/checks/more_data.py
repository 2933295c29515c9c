"""Self-checks of chapter 04: reading a power law forward and backward, and what spoiled reviews are worth.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from course_lib.checks.answers import Hint, Verdict, expect, judge
from course_lib.checks.probe import number


def after_doubling(answer: Callable[[float, float, float], float]) -> Verdict:
    """Check `after_doubling(error, floor, exponent)`: the error with twice the reviews.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _after_doubling)


def reviews_for(answer: Callable[[float, float, float, float], float]) -> Verdict:
    """Check `reviews_for(wanted, floor, scale, exponent)`: the reviews that bring the error down to `wanted`.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _reviews_for)


def worth(answer: Callable[[float, Sequence[float], Sequence[float]], float]) -> Verdict:
    """Check `worth(error, sizes, errors)`: the number of good reviews that have the same error.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _worth)


def best_buy(answer: str) -> Verdict:
    """Check which of the chapter's four offers lowers the error most.

    Args:
        answer: The learner's letter, "A" to "D".

    Returns:
        The verdict to show.
    """
    return judge(answer, _best_buy)


def _compare(got: float, right: float, mistakes: dict[str, float], task: str, tolerance: float) -> None:
    """Accept the right number; else give the hint of the mistake that produces what came, or both side by side."""
    if math.isclose(got, right, rel_tol=tolerance):
        return
    for hint, wrong in mistakes.items():
        expect(not math.isclose(got, wrong, rel_tol=1e-4), hint)
    raise Hint(f"{task} you gave {got:.4g}; expected {right:.4g}")


def _after_doubling(answer: Callable[[float, float, float], float]) -> str:
    error, floor, exponent = 0.25, 0.05, 0.4
    above, kept = error - floor, 2**-exponent
    mistakes = {
        "you divided the whole error. The floor is what more data does not remove: only the part above it shrinks": (
            error * kept
        ),
        "that is the part above the floor. The error is that part and the floor": above * kept,
        "you halved the part above the floor. That would be an exponent of 1; here it is divided by 2 ** exponent": (
            floor + above / 2
        ),
        "the exponent is no factor: doubling divides the part above the floor by 2 ** exponent": (
            floor + above * exponent
        ),
        "the error rises: multiply by 2 ** -exponent, or divide by 2 ** exponent": floor + above / kept,
        "exponent ** 2 is the exponent, squared. Wanted is 2 to the power of it": floor + above / exponent**2,
        "you took the floor away twice, or a part of the wrong size: part = error - floor, and the floor is added "
        "again at the end": above * kept - floor,
        "that is what the doubling takes off. What is left?": above * (1 - kept),
        "the error is as it was. Which part of it shrinks, and by which factor?": error,
    }
    task = f"for an error of {error}, a floor of {floor} and an exponent of {exponent}"
    _compare(number(answer(error, floor, exponent)), floor + above * kept, mistakes, task, 1e-6)
    last = number(answer(0.2, 0.0, 0.3))
    _compare(last, 0.2 * 2**-0.3, {}, "right with a floor; for an error of 0.2, no floor and an exponent of 0.3", 1e-6)
    return "the part above the floor is divided by 2 ** exponent, whatever the size; the floor stays"


def _reviews_for(answer: Callable[[float, float, float, float], float]) -> str:
    wanted, floor, scale, exponent = 0.15, 0.05, 2.0, 0.4
    above = wanted - floor
    mistakes = {
        "the floor is not in it: scale * n ** -exponent has to come down to what lies between the floor and the "
        "wanted error": (scale / wanted) ** (1 / exponent),
        "you added the floor to the wanted error; take it away": (scale / (wanted + floor)) ** (1 / exponent),
        "n ** exponent is scale / part, so n is that to the power of 1 / exponent": (scale / above) ** exponent,
        "upside down: a smaller error needs more reviews": (above / scale) ** (1 / exponent),
        "the exponent is not a factor. Undo a power by the power of 1 / exponent": scale / above / exponent,
        "that is n ** exponent. One more step": scale / above,
    }
    task = f"for a wanted error of {wanted}, floor {floor}, scale {scale:g} and exponent {exponent}"
    right = (scale / above) ** (1 / exponent)
    _compare(number(answer(wanted, floor, scale, exponent)), right, mistakes, task, 1e-3)  # whole reviews are right too
    for low in (floor, floor - 0.02):
        _needs_endless(answer, low, floor, scale, exponent)
    return "the power law read backward; at the floor and below it no number of reviews is enough"


def _needs_endless(
    answer: Callable[[float, float, float, float], float], low: float, floor: float, scale: float, exponent: float
) -> None:
    where = f"right above the floor. For a wanted error of {low:g} and a floor of {floor:g}"
    try:
        got = answer(low, floor, scale, exponent)
    except (ZeroDivisionError, ValueError, OverflowError) as error:
        raise Hint(
            f"{where} your code stops with {type(error).__name__}; ask first whether it can be reached"
        ) from error
    expect(
        not isinstance(got, complex), f"{where} a negative number was raised to a power: it cannot be reached; inf then"
    )
    endless = number(got)
    expect(endless == math.inf, f"{where} you gave {endless:.4g}; no number is enough, and math.inf was asked for")


_SIZES, _ERRORS = [100, 200, 400, 800], [0.4, 0.3, 0.25, 0.2]


def _worth(answer: Callable[[float, Sequence[float], Sequence[float]], float]) -> str:
    error, places = 0.35, np.log(_SIZES)
    given = [*_SIZES], [*_ERRORS]
    got = number(answer(error, *given))
    expect(given == (_SIZES, _ERRORS), "your function changed the lists it was given; reverse a copy: errors[::-1]")
    right = math.exp(np.interp(error, _ERRORS[::-1], places[::-1]))
    unsorted = float(np.interp(error, _ERRORS, places))
    mistakes = {
        "numpy.interp wants its second argument rising, and says nothing when it is not; errors fall. Reverse both "
        "lists": math.exp(unsorted),
        "you reversed the errors and not the sizes": math.exp(np.interp(error, _ERRORS[::-1], places)),
        "you went between 100 and 200 in a straight line. The curve's axis is logarithmic: interpolate log(size)": 150,
        "that is a logarithm; raise e to it": math.log(right),
        "that is the nearest measured size above. Interpolate between the two that enclose the error": 200,
        "that is the nearest measured size below. Interpolate between the two that enclose the error": 100,
    }
    task = f"for an error of {error} on a curve with {_ERRORS} at {_SIZES}"
    _compare(got, right, mistakes, task, 0.03)  # the logarithm of the errors may be taken too
    for outside, end in ((0.45, 100), (0.1, 800), (0.25, 400)):
        where = f"right between two sizes; for an error of {outside} on the same curve"
        _compare(number(answer(outside, _SIZES, _ERRORS)), end, {}, where, 1e-3)
    return "the curve read backward; beyond its ends it can only say 'this many or fewer' or 'this many or more'"


_OFFERS = {
    "A": "that is the most reviews for the money, but look at the table: what are 1,600 reviews with a fifth of their "
    "labels wrong worth in good ones?",
    "C": "3,200 rows with each review there eight times are 400 reviews; copies add nothing",
    "D": "cheaper for each good label, but the curve of plain reviews had stopped falling at half that number: it "
    "stays above what 800 reviews of all kinds reach",
}


def _best_buy(answer: str) -> str:
    expect(isinstance(answer, str), f'expected a letter in quotes, "A" to "D"; got {type(answer).__name__}')
    letter = answer.strip().upper()
    if letter == "B":
        return "the fewest rows and the lowest error: distinct, rightly labeled reviews of all kinds are what counts"
    raise Hint(_OFFERS.get(letter, f'{answer!r} is no offer; choose "A", "B", "C" or "D"'))
