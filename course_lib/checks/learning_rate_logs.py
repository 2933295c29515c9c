"""What the self-checks of chapter 09 compare a reading of a log with: three real logs, and what people misread in them.

The logs are those of the source documents and one of a run that blew up.
"""

import math
from collections.abc import Callable, Sequence

from course_lib.checks.answers import Hint, expect
from course_lib.checks.probe import number
from course_lib.schedules import Linear

BLOW_UP = (
    (5, 4.524, 0.04), (10, 3.81, 0.09), (15, 3.631, 0.14), (20, 3.373, 0.19), (25, 3.728, 0.24), (30, 3.541, 0.29),
    (35, 3.361, 0.34), (40, 3.551, 0.39), (45, 3.572, 0.44), (50, 3.451, 0.49), (55, 3.41, 0.54), (60, 3.233, 0.59),
    (65, 3.26, 0.64), (70, 3.308, 0.69), (75, 4.032, 0.74), (80, 10.57, 0.79), (85, 1772.0, 0.84), (90, 1.699e8, 0.89),
)  # fmt: skip
"""A real log, recorded with torch 2.13 on a CPU: step, mean loss of five updates (nats), rate of the last of them.

A one-layer character model (32 channels, batches of 4 blocks of 32, seed 4), SGD with momentum 0.9, no clipping, a
warm-up of 200 steps to a rate of 2. The loss of step 92 was NaN."""


_LOGS: tuple[tuple[list[int], list[float], float], ...] = (
    ([100, 200, 300, 400], [6e-6, 1.2e-5, 1.8e-5, 2.4e-5], 3e-5),
    ([10, 20, 30, 40], [3e-4 * Linear(total_steps=200, warmup_steps=50)(s - 1) for s in (10, 20, 30, 40)], 3e-4),
    ([10, 20, 30, 40, 50], [1e-3 * Linear(total_steps=100, warmup_steps=25)(s) for s in (10, 20, 30, 40, 50)], 1e-3),
    ([5, 10, 15], [1e-4, 1e-4, 1e-4], 1e-4),
)
_LENGTHS = (500.0, 50.0, 25.0, 0.0)

_LOG_MISTAKES: dict[str, Callable[[list[int], list[float], float], float]] = {
    "that is the last step of the log. The rate there is below the peak, so the warm-up goes on": lambda s, r, p: s[-1],
    "that is how many times the peak holds the first rate, or the climb from one row to the next. Each of those takes "
    "100 steps": lambda s, r, p: p / r[0],
    "that is the climb of one step. How many such climbs make the peak?": lambda s, r, p: (r[1] - r[0]) / (s[1] - s[0]),
}


def check_warmup_length(answer: Callable[[list[int], list[float], float], float]) -> str:
    """Steps of the warm-up in four logs; raises Hint, or says what the right answer shows."""
    got: list[float] = []
    for steps, rates, peak in _LOGS[:3]:
        got.append(number(answer([*steps], [*rates], peak)))
    for hint, mistake in _LOG_MISTAKES.items():
        expect(not math.isclose(got[0], mistake(*_LOGS[0]), rel_tol=0.01), hint)
    expect(
        not math.isclose(got[0], 468, rel_tol=0.01),
        "468 is the length of the run. At that step the line is at 2.81e-5: the run ends before the warm-up does",
    )
    expect(math.isclose(got[0], 500, rel_tol=0.01), f"for the source's log you gave {got[0]:.4g}; 3e-5 / 6e-8 is 500")
    expect(
        not math.isclose(got[1], 10 * 50 / 9, rel_tol=0.01),
        f"right for the source; for rates of {show(_LOGS[1][1][:2])}... at steps 10, 20... you gave {got[1]:.4g}. "
        "That program prints the rate before it steps, so this line is 0 at step 1: use the climb between two rows",
    )
    expect(
        not math.isclose(got[1], 51, rel_tol=0.005),
        "51 is the step at which that log would show the peak, because its line is 0 at step 1 and not at 0. How many "
        "steps does the climb take?",
    )
    expect(
        math.isclose(got[1], 50, rel_tol=0.005),
        f"right for the source; for steps {_LOGS[1][0]} with rates {show(_LOGS[1][1])} and peak 3e-4 you gave "
        f"{got[1]:.4g}, expected 50",
    )
    expect(
        math.isclose(got[2], 25, rel_tol=0.01),
        f"right while all rows climb; here they are {show(_LOGS[2][1])} at steps {_LOGS[2][0]}, peak 1e-3: you gave "
        f"{got[2]:.4g}. Use two rows of the climb only, the first two",
    )
    _no_warmup(answer)
    return "peak divided by the climb of one step; only differences between rows, so either way of logging gives it"


def _no_warmup(answer: Callable[[list[int], list[float], float], float]) -> None:
    steps, rates, peak = _LOGS[3]
    try:
        flat = number(answer([*steps], [*rates], peak))
    except ZeroDivisionError as error:
        raise Hint(
            "right where the rate climbs; where it does not, you divide by zero. That log has no warm-up"
        ) from error
    expect(
        flat == 0,
        f"for a log whose rate is the peak in each row you gave {flat:.4g}: no climb is to be seen; 0 was asked for",
    )


_LAST = {
    (370, 370): "after 370 updates the line stands at 2e-5 x 5 / 375, which is 2.67e-7. The document has 3.2e-7",
    (375, 375): "after 375 of 375 updates the rate is 0; 3.2e-7 is not the end",
    (374, 375): "2e-5 x 1 / 375 is 5.3e-8: that would be the rate of the last update of all",
    (
        369,
        369,
    ): "369 updates were finished when this rate was set, yes. But lines come at each tenth step; the rate was "
    "used by the update that came next",
    (359, 360): "2e-5 x 16 / 375 is 8.5e-7: one line too early",
}


def check_last_log(answer: tuple[int, int]) -> str:
    """What the last logged rate of document 5 says; raises Hint, or says what the right answer shows."""
    expect(isinstance(answer, tuple) and len(answer) == 2, f"expected two numbers, got {answer!r}")
    finished, step = (round(number(part), 6) for part in answer)
    expect(
        finished != 6,
        "6 is what is left: the rate is 6/375 of its setting. Count the finished updates from the start of the run",
    )
    expect(
        finished not in (344, 345),
        "that is where a cosine would be at 3.2e-7. At the first line, 9 steps in, a cosine would print 2.00e-5; "
        "the document has 1.95e-5",
    )
    if (finished, step) == (369, 370):
        return (
            "2e-5 x (375 - 369) / 375 = 3.2e-7: printed before the step, at step 370; five more updates came after it"
        )
    known = _LAST.get((int(finished), int(step)))
    expect(known is None, known or "")
    here = 2e-5 * (375 - finished) / 375
    expect(finished == 369, f"after {finished:g} updates the line from 2e-5 to 0 stands at {here:.3g}; look for 3.2e-7")
    raise Hint(f"369 is right. Lines come at each tenth step, and update number 370 came next; you wrote {step:g}")


_ROWS = {
    92: "at step 92 the loss was no number any more. It had been leaving for many steps by then: go back",
    90: "the loss is at 170 million there. It left long before: go back",
    85: "that is where nobody can overlook it. It began before: go back",
    80: "there it passes ln 103 = 4.63, the loss of knowing nothing, but it has been rising since before that",
    75: "that is the first large jump, and the row before is higher than its own row before, too. Go back further",
    70: "the row before, 3.26 at step 65, is already higher than the one before it",
    60: "that is the last row that was lower than the row before: the best of the run. The rise begins with the next",
    25: "that is a bump: the loss rose by 0.36 and came back, lower than before. It left later",
    40: "that is a bump: from there it came back down to 3.23",
}


def check_left_for_good(answer: tuple[float, float]) -> str:
    """The row of BLOW_UP where the last rise begins; raises Hint, or says what the right answer shows."""
    expect(isinstance(answer, tuple) and len(answer) == 2, f"expected a step and a rate, got {answer!r}")
    step, rate = (number(part) for part in answer)
    expect(
        step in _ROWS or step == 65, f"{step:g} is not it; choose the step of a row, such that every later row rises"
    )
    expect(step == 65, _ROWS.get(int(step), ""))
    expect(
        rate != 2,
        "the step is right. 2 is the setting, at the end of a warm-up of 200 steps; the run never got there. Read the "
        "rate in the row",
    )
    expect(0.635 <= rate <= 0.655, f"the step is right; the rate of its row is not {rate:g}")
    return "the rise began at step 65, at a rate of 0.64: a third of the setting, 27 steps before the first NaN"


def show(values: Sequence[float]) -> str:
    """Numbers as a hint quotes them."""
    return ", ".join(f"{value:.3g}" for value in values)
