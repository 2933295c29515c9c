"""What every self-check shares: an answer is open, wrong with a hint, or right (the exercises of every chapter).

A check is a function `check(answer) -> str`. It raises `Hint` for the first thing that is wrong and returns a sentence
on what the right answer shows. `judge` runs it and turns every outcome into a `Verdict` that the notebook shows.
"""

import dis
import html
import traceback
from collections.abc import Callable
from types import FunctionType
from typing import ClassVar

from course_lib.claims import strict


class Hint(Exception):
    """What is wrong with an answer, and where to look; never the answer itself."""


class CheckFailed(AssertionError):
    """An answer in a notebook that its check refuses, raised where nobody is there to read the hint."""


class Verdict:
    """What a check says of an answer; what a notebook shows.

    Args:
        state: "open" (not attempted yet), "wrong" or "right".
        text: The sentence that goes with it.
    """

    _LOOK: ClassVar = {"open": ("○", "#5a6572"), "wrong": ("✗", "#b3541e"), "right": ("✓", "#2a7d4f")}

    def __init__(self, state: str, text: str) -> None:
        self.state = state
        self.text = text

    def __repr__(self) -> str:
        return f"{self._LOOK[self.state][0]} {self.text}"

    def _repr_html_(self) -> str:
        mark, color = self._LOOK[self.state]
        return (
            f'<div class="course-check" style="border-left:3px solid {color};padding:.15em .7em;margin:.3em 0">'
            f'<span style="color:{color};font-weight:bold">{mark}</span> {html.escape(self.text)}</div>'
        )


def expect(condition: object, hint: str) -> None:
    """Refuse the answer with this hint unless the condition holds.

    Raises:
        Hint: The condition is false.
    """
    if not condition:
        raise Hint(hint)


def is_unanswered(answer: object) -> bool:
    """Whether this is a starter as it was handed out: `...` itself, or a function whose body is only that.

    A function that computes something and forgets to return it is an attempt, so the body is looked at, not the result.
    """
    if isinstance(answer, FunctionType):
        body = [step for step in dis.get_instructions(answer) if step.opname not in ("RESUME", "NOP")]
        return all(
            step.opname in ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE") and step.argval is None for step in body
        )
    return answer is ...


def judge(answer: object, check: Callable[..., str]) -> Verdict:
    """Run one check on one answer.

    Args:
        answer: The learner's function or value; a tuple of answers counts as open while any part is `...`.
        check: Raises `Hint`, or returns what the right answer shows.

    Returns:
        The verdict, to stand as the last expression of a cell.

    Raises:
        CheckFailed: The answer is wrong and claims are strict (tests and book builds), so that a solution cannot rot.
    """
    parts = answer if isinstance(answer, tuple) else (answer,)
    if any(is_unanswered(part) for part in parts):
        return Verdict("open", "not attempted yet")
    try:
        verdict = Verdict("right", check(answer))
    except Hint as hint:
        verdict = Verdict("wrong", str(hint))
    except Exception as error:  # the learner's code may raise anything, and a hint is owed for all of it
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "course_lib" not in f.filename]
        where = f" in line {frames[-1].lineno} of your cell ({frames[-1].line})" if frames and frames[-1].line else ""
        verdict = Verdict("wrong", f"your code stopped with {type(error).__name__}: {error}{where}")
    if verdict.state == "wrong" and strict():
        raise CheckFailed(verdict.text)
    return verdict
