"""A sentence of the course bound to a number of this run (every chapter uses it; see the page "How to use").

Prose that quotes a number goes stale in silence. A claim does not: it is a sentence whose truth is computed beside it.
In the tests and in a book build a claim that does not hold stops everything. In a person's own session it says what
came instead and goes on, because people are meant to change things.
"""

import html
import logging
import os
import sys

STRICT_VARIABLE = "COURSE_STRICT_CLAIMS"
"""Environment variable that makes a failed claim an error; the test set-up and the book build set it to "1"."""

_log = logging.getLogger(__name__)


class ClaimError(AssertionError):
    """A sentence of the course that the numbers of this run do not support."""


class Claim:
    """A sentence and whether it held; what a notebook shows.

    Args:
        text: The sentence, with the numbers of this run already in it.
        holds: Whether the numbers support it.
    """

    def __init__(self, text: str, holds: bool) -> None:
        self.text = text
        self.holds = holds

    def __repr__(self) -> str:
        return f"✓ {self.text}" if self.holds else f"✗ not in this run: {self.text}"

    def _repr_html_(self) -> str:
        mark, color, note = ("✓", "#2a7d4f", "") if self.holds else ("✗", "#b3541e", "<em>not in this run:</em> ")
        return (
            f'<div class="course-claim" style="border-left:3px solid {color};padding:.15em .7em;margin:.3em 0">'
            f'<span style="color:{color};font-weight:bold">{mark}</span> {note}{html.escape(self.text)}</div>'
        )


def strict() -> bool:
    """Whether a failed claim raises here (tests and book builds) or tells and goes on (a person's session)."""
    return os.environ.get(STRICT_VARIABLE, "") not in ("", "0")


def _show(shown: Claim) -> None:
    """Render a claim where it was made: in a notebook as a marked line, elsewhere as a log record."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(shown)
    else:
        _log.log(logging.INFO if shown.holds else logging.WARNING, "%r", shown)


def claim(text: str, condition: object) -> None:
    """Bind a sentence of the course to a condition on the numbers of this run.

    Args:
        text: One sentence, usually an f-string that carries the numbers.
        condition: What must hold. Anything with a truth value; a tensor of one element counts as its value.

    Shows the sentence as a small marked line, wherever in a cell it stands.

    Raises:
        ClaimError: The condition is false and claims are strict (in tests and book builds).
        ValueError: The text is empty, or the condition has no single truth value.
    """
    if not text.strip():
        raise ValueError("claim() expected a sentence, got an empty text; write what the numbers show.")
    try:
        holds = bool(condition)
    except (ValueError, RuntimeError) as error:  # numpy and torch refuse a truth value for several elements
        raise ValueError(
            f"claim() expected one truth value, got {type(condition).__name__} of several elements; "
            "reduce it with .all() or .any()."
        ) from error
    if not holds and strict():
        raise ClaimError(f"the course says: {text!r}. The numbers of this run do not support it.")
    _show(Claim(text, holds))
