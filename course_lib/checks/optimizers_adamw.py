"""What the self-check of AdamW in chapter 08 tries: one update, and the same with the decay in each wrong place."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.checks.answers import Hint, expect

NOTHING = "nothing came back from your function; is there a return?"
"""The hint for a function that returns None."""

HANDED_OUT = "not attempted yet: the decay still goes into the gradient"
"""What is said of a function that computes Adam with L2, as the starter does."""

RATE, DECAY, _EPS = 0.1, 0.2, 1e-8


def vector(answer: object, what: str) -> Tensor:
    """An answer as a float64 vector of two, or the hint on why it is none."""
    expect(answer is not None, NOTHING)
    try:
        vector = torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Hint(f"expected {what} as a tensor, got {type(answer).__name__}: {answer!r}") from error
    shape = tuple(vector.shape)
    expect(shape == (2,), f"expected {what} in the shape of the weights, (2,); yours has shape {shape}")
    return vector


def show(vector: Tensor) -> str:
    """A vector in five digits."""
    return "[" + ", ".join(f"{value:.5g}" for value in vector.tolist()) + "]"


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two vectors are equal but for rounding in float64."""
    return torch.allclose(a, b, rtol=1e-9, atol=1e-12)


_W, _G, _M, _V, _T = [2.0, -1.0], [0.3, 0.4], [0.05, -0.02], [0.001, 0.004], 3


def _adam(
    *, l2: float = 0.0, l2_m: float = 0.0, l2_v: float = 0.0, before: float = 0.0, after: float = 0.0, bias: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """New w, m and v of one update; each decay enters at its own place.

    Args:
        l2: Times w, added to the gradient; `l2_m` and `l2_v` add it for one moment alone.
        before: Share of the old weights taken away.
        after: Share of the new weights taken away.
        bias: Whether the moments are corrected.
    """
    w, g, m, v = (torch.tensor(values, dtype=torch.float64) for values in (_W, _G, _M, _V))
    m = 0.9 * m + 0.1 * (g + (l2 + l2_m) * w)
    v = 0.999 * v + 0.001 * (g + (l2 + l2_v) * w) ** 2
    m_hat, v_hat = (m / (1 - 0.9**_T), v / (1 - 0.999**_T)) if bias else (m, v)
    new = w - before * w - RATE * m_hat / (v_hat.sqrt() + _EPS)
    return new - after * new, m, v


def _same(got: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(equal(mine, theirs) for mine, theirs in zip(got, other, strict=True))


def _answer_of(answer: Callable[..., object]) -> list[Tensor]:
    """The learner's w, m and v as vectors."""
    given = [torch.tensor(values, dtype=torch.float64) for values in (_W, _G, _M, _V)]
    result = answer(*[tensor.clone() for tensor in given], _T, RATE, DECAY)
    expect(result is not None, NOTHING)
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise Hint("expected three things back, w, m and v; the next step needs all of them")
    return [vector(part, name) for part, name in zip(result, "wmv", strict=True)]


def try_adamw(answer: Callable[..., object]) -> str:
    """Compare a learner's update with AdamW's and with those of the likely mistakes; HANDED_OUT if it is still L2."""
    got, share = _answer_of(answer), RATE * DECAY
    mistakes = {
        "without the rate the decay takes the share `decay` of each weight at every step; what do 100 leave?": _adam(
            before=DECAY
        ),
        "the decay is gone altogether: it has to shrink w somewhere": _adam(),
        "the decay is in both places now; take it out of the gradient": _adam(l2=DECAY, before=share),
        "the decay is in both places, and where it shrinks w the rate is missing": _adam(l2=DECAY, before=DECAY),
        "the decay was scaled by the rate but is still in the gradient, where it is divided by its size": _adam(
            l2=share
        ),
        "the weights grow: the decay takes away, so it needs a minus": _adam(before=-share),
        "you shrank the weights after the update, so a part of the new step was shrunk too. The share is one of the "
        "weight as it was before": _adam(after=share),
        "after the update, and without the rate": _adam(after=DECAY),
        "the decay is still in m: neither moment may see it": _adam(l2_m=DECAY, before=share),
        "the decay is still in v: neither moment may see it": _adam(l2_v=DECAY, before=share),
        "the decay is still in m, and w itself does not shrink": _adam(l2_m=DECAY),
        "the share is rate * decay; you took away the share `rate`": _adam(before=RATE),
        "the decay is right, but the bias correction was lost on the way": _adam(before=share, bias=False),
    }
    if _same(got, _adam(l2=DECAY)):
        return HANDED_OUT
    right = _adam(before=share)
    for hint, wrong in mistakes.items():
        expect(not _same(got, wrong), hint)
    for name, mine, true in zip("wmv", got, right, strict=True):
        expect(equal(mine, true), f"{name} should be {show(true)} in the check's example; yours is {show(mine)}")
    return "the decay passes the moments by: every weight shrinks by the same share, rate times decay"
