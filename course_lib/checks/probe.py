"""What the self-checks of chapter 06 try a loop on: a model that notes how it is called, small groups, and numbers.

Shape legend: B sequences in a batch, T positions, C channels, V classes or words.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_lib.checks.answers import Hint, expect
from course_lib.data import IGNORE_INDEX, Batch, ReviewBatches, pad
from course_lib.losses import cross_entropy
from course_lib.optim import clip_grad_norm

NOTHING = "nothing came back from your function; is there a return?"
"""The hint for a function that returns None."""

START, STOP = 3, 7
"""The updates of a loop: from the last, incomplete pair of epoch 1 to the first pair of epoch 3."""

_TEXTS = [[1, 2], [3, 4, 5, 6], [2, 2], [5, 1, 3], [4, 6], [6, 1, 1, 2, 5], [3, 3], [1, 5], [2, 6, 4], [6, 6]]
_LABELS = [0, 1, 0, 1, 1, 0, 1, 0, 1, 1]


class Probe(nn.Module):
    """Words to a mean vector to V scores, or to V scores at each place; keeps a note of each call.

    Args:
        words: Whether it answers for each place (B, T, V) instead of once (B, V).
        dropout: Share of channels dropped in training.
    """

    def __init__(self, words: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(6)
        self.embedding = nn.Parameter(torch.randn(7, 8, generator=generator, dtype=torch.float64))  # (V, C)
        self.out = nn.Parameter(torch.randn(8, 7 if words else 2, generator=generator, dtype=torch.float64))  # (C, V)
        self.dropout = nn.Dropout(dropout)
        self.words = words
        self.calls: list[tuple[bool, bool, bool]] = []

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Word ids (B, T) -> logits (B, V) or (B, T, V); notes (training mode, gradients on, a gradient is there)."""
        self.calls.append((self.training, torch.is_grad_enabled(), self.out.grad is not None))
        x = self.embedding[ids]  # (B, T) -> (B, T, C)
        if not self.words:
            weight = mask.unsqueeze(-1).double()  # (B, T, 1)
            x = (x * weight).sum(1) / weight.sum(1)  # (B, T, C) -> (B, C)
        return self.dropout(x) @ self.out  # (..., C) @ (C, V) -> (..., V)


def summed_losses(model: nn.Module, group: list[Batch]) -> list[Tensor]:
    """The loss of each micro-batch, added over its targets, in nats."""
    return [cross_entropy(model(b.inputs, b.mask), b.targets, reduction="sum") for b in group]


def gradient_of(group: list[Batch], words: bool, divisors: Sequence[float]) -> Tensor:
    """The gradient of the sum over micro-batches of (summed loss / divisor), as one vector (parameters,)."""
    model = Probe(words)
    parts = [loss / divisor for loss, divisor in zip(summed_losses(model, group), divisors, strict=True)]
    gradients = torch.autograd.grad(torch.stack(parts).sum(), list(model.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


def number(answer: object) -> float:
    """An answer as a number.

    Raises:
        Hint: It is none; the hint says what it is.
    """
    expect(answer is not None, NOTHING)
    try:
        return float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise Hint(f"expected one number, got {type(answer).__name__}: {answer!r}") from error


def close(got: Sequence[float], wanted: Sequence[float]) -> bool:
    """Whether two lists of numbers are equal but for rounding in float32."""
    return len(got) == len(wanted) and all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(got, wanted, strict=True))


def review_source(shuffle: bool = False) -> ReviewBatches:
    """Ten reviews in batches of 4, 4 and 2, in a fixed order or in another one each epoch."""
    return ReviewBatches(_TEXTS, _LABELS, batch_size=4, shuffle=shuffle, bucket=False)


def next_words() -> list[Batch]:
    """Two micro-batches with 4 and 12 targets, and padding in the second."""
    batches = []
    for texts in ([_TEXTS[0], _TEXTS[2], _TEXTS[4], _TEXTS[6]], [_TEXTS[1], _TEXTS[3], _TEXTS[5], _TEXTS[1]]):
        ids, mask = pad(texts)  # (B, T + 1)
        targets = ids[:, 1:].where(mask[:, 1:], IGNORE_INDEX)  # (B, T)
        batches.append(Batch(ids[:, :-1], mask[:, :-1], targets))
    return batches


def rate_at(step: int) -> float:
    """The learning rate of the update that follows `step` updates; another one at each step."""
    return 0.2 + 0.1 * step


def walk(
    places: list[tuple[int, int]], late: int = 0, size: int = 2, clip: float = 1.0, fixed: bool = False
) -> list[float]:
    """The losses of a loop that takes its groups at these places, from update START on.

    Args:
        places: Epoch and first micro-batch of each update's group.
        late: Steps by which its rates lag.
        size: Micro-batches in a group.
        clip: Largest gradient norm let through.
        fixed: Whether all updates use the rate of the first.
    """
    model, source, losses = Probe(), review_source(shuffle=True), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for i, (epoch, start) in enumerate(places):
        group = list(source.epoch(epoch))[start : start + size]
        optimizer.zero_grad()
        loss = torch.stack(summed_losses(model, group)).sum() / sum(map(len, group))
        loss.backward()
        clip_grad_norm(list(model.parameters()), clip)
        optimizer.param_groups[0]["lr"] = rate_at(START if fixed else START + i - late)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


_PLACES = [(1, 2), (2, 0), (2, 2), (3, 0)]  # epoch and first micro-batch of these four updates


def _walks() -> dict[str, list[float]]:
    """What the likely mistakes give, by their hints."""
    return {
        "you began at the first review of the run, wherever `step` was": walk([(0, 0), (0, 2), (1, 0), (1, 2)]),
        "an epoch was taken from its beginning, although `position` said where to start: batches.epoch(epoch, start)": (
            walk([(1, 0), (1, 2), (2, 0), (2, 2)])
        ),
        "each epoch came in the order of epoch 0; ask for the epoch that `position` gives": walk(
            [(0, 2), (0, 0), (0, 2), (0, 0)]
        ),
        "each micro-batch made a step of its own; two of them share one": walk(
            [(1, 2), (2, 0), (2, 1), (2, 2)], size=1
        ),
        "the rate is one step late; the update that follows `step` finished ones uses rate(step)": walk(
            _PLACES, late=1
        ),
        "the rate is one step ahead: count the update after it is made": walk(_PLACES, late=-1),
        "the rate stayed as it was at the first update; ask for it before each one": walk(_PLACES, fixed=True),
        "the gradient was not clipped to norm 1": walk(_PLACES, clip=math.inf),
    }


def try_loop(answer: Callable[..., list[float]]) -> str:
    """Run a learner's loop from START to STOP and compare its losses with those of the likely mistakes."""
    model, asked = Probe(), 0

    def rate(step: int) -> float:
        nonlocal asked
        asked += 1
        expect(asked < 50, "four updates were asked for, and your loop has begun the fiftieth: where does `step` grow?")
        return rate_at(step)

    optimizer = torch.optim.SGD(model.parameters(), lr=rate_at(0))
    got = answer(model.eval(), review_source(shuffle=True), optimizer, rate, START, STOP)
    expect(got is not None, NOTHING)
    expect(isinstance(got, list | tuple), f"expected a list with the loss of each update, got {type(got).__name__}")
    losses, right = [number(loss) for loss in got], walk(_PLACES)
    expect(model.calls, "your function never called the model")
    expect(
        all(training for training, _, _ in model.calls),
        "the model came in eval mode and was trained in it, without dropout; who switches the mode?",
    )
    for hint, wrong in _walks().items():
        expect(not close(losses[: len(wrong)], wrong), hint)
    for i, (mine, true) in enumerate(zip(losses, right, strict=False)):
        expect(
            math.isclose(mine, true, rel_tol=1e-5),
            f"from step {START} to {STOP}, update number {START + i} has a loss of {true:.4g}; you gave {mine:.4g}",
        )
    expect(
        len(losses) <= len(right), f"{len(losses)} updates, from {START} to {STOP} there are {len(right)}: it ran past"
    )
    expect(
        len(losses) == len(right),
        f"your loop ended after {len(losses)} of {len(right)} updates: an epoch may be over before the run is",
    )
    return "it begins and ends anywhere in a run, and each update is the one that a run without a stop would make"
