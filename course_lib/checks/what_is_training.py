"""Self-checks of chapter 01: what a loss is, what the first one tells, and what a guesser who counts would reach.

Each check computes, beside the right number, the numbers that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Callable
from numbers import Real

from course_lib.checks.answers import Hint, Verdict, expect, judge

LEARNED, STUCK, CONTINUED, FREQUENCIES = "learned", "nothing adjusted", "started trained", "only frequencies"
"""The four verdicts on a run that `verdicts` knows."""


def average_loss(answer: Callable[[list[float]], float]) -> Verdict:
    """Check `average_loss(probabilities)`: the mean of minus the logarithm, in nats.

    Args:
        answer: The learner's function; takes the probabilities that a model gave to the characters that came.

    Returns:
        The verdict to show.
    """
    return judge(answer, _average_loss)


def alphabet_size(answer: Callable[[float], int]) -> Verdict:
    """Check `alphabet_size(first_loss)`: how many characters an untrained model of that loss chooses among.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _alphabet_size)


def frequency_loss(answer: Callable[[str], float]) -> Verdict:
    """Check `frequency_loss(text)`: the loss of a guesser who always answers with the text's own character shares.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _frequency_loss)


def verdicts(answer: dict[str, str]) -> Verdict:
    """Check the verdicts on the chapter's four runs, A to D.

    Args:
        answer: Run to one of the four verdicts; a run that still has `...` leaves the exercise open.

    Returns:
        The verdict to show.
    """
    parts = tuple(answer.values()) if isinstance(answer, dict) else answer
    return judge(parts, lambda _: _verdicts(answer))


def _number(answer: object, what: str) -> float:
    """The answer as a float, or the hint on why it is none. A tensor or array of one element is a number too."""
    expect(answer is not None, "nothing came back from your function; is there a return?")
    unpack = getattr(answer, "item", None)
    with contextlib.suppress(ValueError, RuntimeError):  # several elements: the next line says so
        answer = unpack() if callable(unpack) else answer
    expect(isinstance(answer, Real), f"expected one number, {what}; got {type(answer).__name__}: {answer!r}")
    return float(answer)  # type: ignore[arg-type]


def _compare(got: float, right: float, mistakes: dict[str, float], task: str) -> None:
    """Accept the right number; else give the hint of the mistake that produces what came, or both side by side."""
    if math.isclose(got, right, rel_tol=1e-6, abs_tol=1e-9):
        return
    for hint, wrong in mistakes.items():
        expect(not math.isclose(got, wrong, rel_tol=1e-6, abs_tol=1e-9), hint)
    raise Hint(f"{task} you gave {got:.4g}; expected {right:.4g}")


def _average_loss(answer: Callable[[list[float]], float]) -> str:
    probabilities = [0.5, 0.25, 0.9, 0.01]
    logs = [math.log(p) for p in probabilities]
    mean = sum(logs) / 4
    mistakes = {
        "a loss below zero: the logarithm of a probability is negative, and the loss is minus that": mean,
        "you averaged the probabilities and took one logarithm; each prediction has its own loss, and the losses are "
        "averaged": -math.log(sum(probabilities) / 4),
        "that is the sum of the losses; a longer text would have a larger one. Divide by how many there are": -4 * mean,
        "that is in bits: math.log2 counts doublings. The course uses math.log, the natural logarithm": -mean
        / math.log(2),
        "that is math.log10, which counts tenfolds. The course uses math.log, the natural logarithm": -mean
        / math.log(10),
        "1 - p is how much was missing to certainty. It never exceeds 1, however wrong the model was; "
        "minus the logarithm does": 1 - sum(probabilities) / 4,
        "you weighted each loss with its own probability; here every prediction counts once": -sum(
            p * log for p, log in zip(probabilities, logs, strict=True)
        ),
        "that is the loss of the first prediction alone; the others count as well": -logs[0],
        "that is the average probability; where is the logarithm?": sum(probabilities) / 4,
    }
    _compare(_number(answer(probabilities), "in nats"), -mean, mistakes, f"for the probabilities {probabilities}")
    _compare(_number(answer([1.0, 1.0]), "in nats"), 0.0, {}, "right so far; but for [1.0, 1.0], sure and right twice,")
    return "of these four predictions, the one at 0.01 makes most of the loss: being sure of something else costs"


def _alphabet_size(answer: Callable[[float], int]) -> str:
    first_loss = 4.17
    size = math.exp(first_loss)  # 64.72
    got = _number(answer(first_loss), "a count")
    expect(round(got) != round(10**first_loss), "10 ** loss undoes math.log10; this loss was made with math.log")
    expect(round(got) != round(2**first_loss), "2 ** loss undoes math.log2; this loss was made with math.log")
    mistakes = {
        "that takes the logarithm once more; you want to undo it": math.log(first_loss),
        "that is the probability of each character; how many of that size make up a whole?": math.exp(-first_loss),
        "right, and no alphabet has a fraction of a character: return the nearest whole number": size,
        "that is the loss, rounded; undo the logarithm first": round(first_loss),
        f"{size:.2f} should become 65, the nearest whole number; int cuts off what is left over": math.floor(size),
    }
    _compare(got, 65, mistakes, f"for a first loss of {first_loss}")
    mistakes = {"66.02 should become 66, the nearest whole number; math.ceil always goes up": 67}
    _compare(_number(answer(4.19), "a count"), 66, mistakes, "right for 4.17, but for the source's 4.19")
    return "a run's first number tells the rough size of its alphabet, before anything was learned"


def _frequency_loss(answer: Callable[[str], float]) -> str:
    text = "abracadabra"
    counts = Counter(text)
    shares = [count / len(text) for count in counts.values()]
    right = -sum(share * math.log(share) for share in shares)
    mistakes = {
        "you took the logarithm of counts; a probability is a count divided by the length of the text": -sum(
            share * math.log(count) for share, count in zip(shares, counts.values(), strict=True)
        ),
        "you let each letter of the alphabet count once; a frequent character is met often, so its loss counts "
        "often": -sum(map(math.log, shares)) / len(shares),
        "that is the sum of the losses over the alphabet; wanted is the average over the text": -sum(
            map(math.log, shares)
        ),
        "that is the sum over the whole text; divide by its length": right * len(text),
        "that is an even spread over the alphabet; this guesser has counted, and knows that 'a' is common": math.log(
            len(counts)
        ),
        "a loss below zero: the logarithm of a share is negative, and the loss is minus that": -right,
        "that is in bits: math.log2. The course uses math.log, the natural logarithm": right / math.log(2),
        "that is math.log10; the course uses math.log, the natural logarithm": right / math.log(10),
        "that is the loss where the commonest character comes; the others come as well": -math.log(max(shares)),
        "you averaged the probabilities before the logarithm; average the losses": -math.log(
            sum(share * share for share in shares)
        ),
        "that is the perplexity; the loss is its logarithm": math.exp(right),
    }
    _compare(_number(answer(text), "in nats"), right, mistakes, f"for {text!r}")
    for other, name in (
        ("aaaa", "where there is nothing to guess,"),
        ("to be or not to be", "with spaces, which count,"),
    ):
        entropy = sum(-n / len(other) * math.log(n / len(other)) for n in Counter(other).values())
        _compare(_number(answer(other), "in nats"), entropy, {}, f"right for {text!r}, but for {other!r}, {name}")
    return "no guesser that ignores what came before can do better than this on its text"


_RUNS = {
    "A": (LEARNED, "it begins near ln 65, like a model that knows nothing, and ends far below what frequencies give"),
    "B": (STUCK, "compare its last loss with ln 65: what does a model know that is still there?"),
    "C": (CONTINUED, "look at its first loss: before any training a model chooses among 65, which costs 4.17"),
    "D": (FREQUENCIES, "it did come down from ln 65; compare where it ended with the figure for counting characters"),
}


def _verdicts(answer: dict[str, str]) -> str:
    names = ", ".join(repr(verdict) for verdict, _ in _RUNS.values())
    expect(isinstance(answer, dict), f"expected a dictionary from run to verdict; got {type(answer).__name__}")
    for run, (right, hint) in _RUNS.items():
        expect(run in answer, f"run {run} is missing from your dictionary")
        given = answer[run]
        known = isinstance(given, str) and any(given.strip().lower() == verdict for verdict, _ in _RUNS.values())
        expect(known, f"run {run}: expected one of {names}; got {given!r}")
        expect(given.strip().lower() == right, f"run {run} is not {given.strip()!r}: {hint}")
    return "among these four verdicts, two numbers of each run, ln V and a baseline are enough to choose"
