"""Self-checks of chapter 08: a wrong optimizer is recognized by the weights that it arrives at.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.answers import Hint, Verdict, expect, is_unanswered, judge
from course_lib.checks.optimizers_adamw import HANDED_OUT, NOTHING, equal, show, try_adamw, vector

LOGGED: tuple[float, float, float] = (1.97684, 1.99898, 1.99684)
"""The weight after the first update in the three runs of the last exercise; before it was 2.0."""

_RATE = 0.2
_GRADIENTS = [[1.0, -2.0], [0.5, 1.0], [-3.0, 1.0]]


def momentum(answer: type) -> Verdict:
    """Check `Momentum`: a class made with a rate, whose `step(w, g)` follows 0.9 times the velocity plus g.

    Args:
        answer: The learner's class.

    Returns:
        The verdict to show.
    """
    if is_unanswered(getattr(answer, "direction", None)):
        return Verdict("open", "not attempted yet")
    return judge(answer, _momentum)


def corrected(answer: Callable[[Any, float, int], Any]) -> Verdict:
    """Check `corrected(average, beta, t)`: a running average that began at 0, freed of its beginning.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _corrected)


def adamw_step(answer: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Verdict:
    """Check `adamw_step(w, g, m, v, t, rate, decay)`; Adam with L2, as it is handed out, counts as not attempted.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    verdict = judge(answer, try_adamw)
    return Verdict("open", HANDED_OUT) if verdict.text == HANDED_OUT else verdict


def formulas(answer: tuple[str, str, str]) -> Verdict:
    """Check the names of the formulas behind the three logged weights.

    Args:
        answer: The learner's three names.

    Returns:
        The verdict to show.
    """
    return judge(answer, _formulas)


def _follow(change: Callable[[Tensor, Tensor], Tensor], late: bool = False, rate: float = _RATE) -> Tensor:
    """The weights after three steps along a velocity that starts at 0 and changes by `change(velocity, g)`."""
    w = torch.tensor([1.0, 2.0], dtype=torch.float64)
    velocity = torch.zeros_like(w)
    for gradient in torch.tensor(_GRADIENTS, dtype=torch.float64):
        before, velocity = velocity, change(velocity, gradient)
        w = w - rate * (before if late else velocity)
    return w


def _momentum(answer: type) -> str:
    expect(isinstance(answer, type), f"expected the class Momentum itself, got {type(answer).__name__}")
    gradients = torch.tensor(_GRADIENTS, dtype=torch.float64)
    first, second = answer(_RATE), answer(_RATE)
    w = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for gradient in gradients:
        given = gradient.clone()
        w = vector(_step(first, w, given), "the new weights")
        expect(equal(given, gradient), "your method changed the gradient it was given; make a new tensor instead")
    right = _follow(lambda v, g: 0.9 * v + g)
    mistakes = {
        "that is SGD: the velocity was not kept from one step to the next. Assign it to self.velocity": _follow(
            lambda v, g: g
        ),
        "you averaged (0.9 and 0.1); the running sum takes each new gradient in whole. Averages come later": _follow(
            lambda v, g: 0.9 * v + 0.1 * g
        ),
        "the old velocity was kept whole, so it never forgets; it keeps 90% of itself": _follow(lambda v, g: v + g),
        "the new gradient lost 10% too: only the old velocity is multiplied by 0.9": _follow(
            lambda v, g: 0.9 * (v + g)
        ),
        "the 0.9 stands at the gradient; it belongs to the old velocity": _follow(lambda v, g: v + 0.9 * g),
        "the velocity points uphill; `step` has the minus already": _follow(lambda v, g: 0.9 * v - g),
        "you followed the velocity of the step before; take the new gradient in first": _follow(
            lambda v, g: 0.9 * v + g, late=True
        ),
        "the rate is in twice: `step` multiplies by it, so leave it out of the velocity": _follow(
            lambda v, g: 0.9 * v + _RATE * g
        ),
    }
    _compare(w, right, mistakes, f"after three steps from [1, 2] with gradients {_GRADIENTS} and rate {_RATE}")
    fresh = vector(_step(second, torch.zeros(2, dtype=torch.float64), gradients[0].clone()), "the new weights")
    expect(
        equal(fresh, -_RATE * gradients[0]),
        "a second optimizer began with the velocity of the first: keep it in self.velocity, not in the class",
    )
    return "one line more than SGD: what agrees from step to step adds up, what alternates cancels"


def _step(optimizer: Any, w: Tensor, gradient: Tensor) -> object:
    """Take one step, with a hint where `direction` gives nothing."""
    try:
        return optimizer.step(w, gradient)
    except TypeError as error:
        raise Hint(NOTHING if "NoneType" in str(error) else f"`direction` stopped: {error}") from error


def _compare(got: Tensor, right: Tensor, mistakes: dict[str, Tensor], task: str) -> None:
    """Accept the right vector; else give the hint of the mistake that produces what came, or both side by side."""
    if equal(got, right):
        return
    for hint, wrong in mistakes.items():
        expect(not equal(got, wrong), hint)
    raise Hint(f"{task} you gave {show(got)}; expected {show(right)}")


def _corrected(answer: Callable[[Any, float, int], Any]) -> str:
    beta, t = 0.9, 3
    average = torch.tensor([0.271, -0.542], dtype=torch.float64)
    given = average.clone()
    got = vector(answer(given, beta, t), "the average")
    expect(
        equal(given, average), "your function changed the average it was given, and the next step needs it as it was"
    )
    mistakes = {
        "that is the average as it came, still too small": average,
        "1 - beta is the share of one gradient; after t of them the share is larger. How much of the zero is left "
        "after t steps?": average / (1 - beta),
        "beta**t is the share of the zero that it started from; divide by what the gradients have": average / beta**t,
        "too small became smaller: divide by the share, do not multiply": average * (1 - beta**t),
        "each step multiplies what is left of the zero by beta: after t steps beta to the power of t, not beta * t": (
            average / (1 - beta * t)
        ),
        "t counts this gradient already, so the power is t, not t - 1": average / (1 - beta ** (t - 1)),
        "t counts this gradient already, so the power is t, not t + 1": average / (1 - beta ** (t + 1)),
        "the gradients do not share equally, so dividing by t is not it": average / t,
    }
    _compare(got, average / (1 - beta**t), mistakes, f"for the average {show(average)}, beta {beta} and t = {t}")
    one = vector(answer(0.001 * average, 0.999, 1), "the average")
    expect(
        torch.allclose(one, average, rtol=1e-6),
        "right for beta 0.9, but with beta 0.999 the first average, a thousandth of the gradient, does not come back",
    )
    return "the zeros that the average began with are taken out, from the first step on"


_NAMES = {
    "adam": "takes a first step of exactly one rate, 0.001, and would give 1.99900",
    "adamw": "takes one rate and a share rate * decay of the weight, and would give 1.99898",
    "no correction": "takes a first step of 0.1 / sqrt(0.001) = 3.16 rates and would give 1.99684",
    "l2": "divides the first gradient, decay included, by its own size: one rate, 1.99900",
    "source": "has no correction and takes the share decay of the weight: 3.16 rates and 0.02, so 1.97684",
    "no rate on decay": "takes one rate and 0.02, and would give 1.97900",
}


def _formulas(answer: tuple[str, str, str]) -> str:
    expect(isinstance(answer, tuple | list), f"expected three names in brackets, got {type(answer).__name__}")
    expect(len(answer) == 3, f"expected three names, one for each run, got {len(answer)}")
    right = ("source", "adamw", "no correction")
    for run, (name, true, logged) in enumerate(zip(answer, right, LOGGED, strict=True), start=1):
        expect(isinstance(name, str), f"run {run}: expected a name in quotes, got {name!r}")
        key = name.strip().lower()
        expect(key in _NAMES, f"run {run}: {name!r} is none of the six names {', '.join(map(repr, _NAMES))}")
        expect(key == true, f"run {run} arrived at {logged}, but {name!r} {_NAMES.get(key)}")
    return "the first step tells: 3.16 rates without correction, one with it; 0.02 of decay without the rate"
