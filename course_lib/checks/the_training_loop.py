"""Self-checks of chapter 06: a wrong loop is recognized by the counts, losses and gradients that it leaves behind.

Each check computes, beside the right value, the values that the likely mistakes would give. An answer that equals one
of them gets that mistake's hint; any other gets the numbers side by side.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.probe import (
    NOTHING,
    Probe,
    gradient_of,
    next_words,
    number,
    review_source,
    summed_losses,
    try_loop,
)
from course_lib.data import IGNORE_INDEX, Batch, BatchSource


def updates(answer: Callable[[int, int, int, int, bool], int]) -> Verdict:
    """Check `updates(reviews, batch_size, accumulation, epochs, keep_partial)`: the steps of a run.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _updates)


def measure(answer: Callable[[nn.Module, BatchSource], float]) -> Verdict:
    """Check `measure(model, batches)`: the mean loss of a model over all reviews of a source.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _measure)


def backward_group(answer: Callable[[nn.Module, list[Batch]], Tensor]) -> Verdict:
    """Check `backward_group(model, group)`: the gradient of one large batch from its micro-batches.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _backward_group)


def grown(answer: Callable[..., list[float]]) -> Verdict:
    """Check `grown(model, batches, optimizer, rate, step, stop)`: updates `step` to `stop - 1` of a run, in pairs.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, try_loop)


def must_be_saved(answer: Iterable[str]) -> Verdict:
    """Check the set of names of what a checkpoint needs.

    Args:
        answer: The learner's set of strings.

    Returns:
        The verdict to show.
    """
    return judge(answer, _must_be_saved)


# --- counting ---

_RUNS = [(2500, 8, 2, 3, True), (2500, 8, 2, 3, False), (100, 8, 1, 2, True), (330, 16, 4, 5, True)]


def _steps(n: int, size: int, group: int, epochs: int, keep: bool) -> int:
    batches = math.ceil(n / size)
    return epochs * (math.ceil(batches / group) if keep else batches // group)


_COUNTS: dict[str, Callable[..., float]] = {
    "the last, smaller batch of an epoch is a batch too: 2,500 reviews in batches of 8 are 312.5, and half a batch is "
    "still processed": lambda n, s, g, e, k: e * (math.ceil(n // s / g) if k else n // s // g),
    "your count does not depend on keep_partial; with False the incomplete group makes no step": lambda n, s, g, e, k: (
        _steps(n, s, g, e, True)
    ),
    "an incomplete group makes a step of its own when keep_partial is True; you dropped it": lambda n, s, g, e, k: (
        _steps(n, s, g, e, False)
    ),
    "keep_partial works the wrong way round": lambda n, s, g, e, k: _steps(n, s, g, e, not k),
    "you let a group run on into the next epoch. A group ends with its epoch: round within each epoch, then multiply": (
        lambda n, s, g, e, k: math.ceil(e * math.ceil(n / s) / g) if k else e * math.ceil(n / s) // g
    ),
    "those are the micro-batches; `accumulation` of them share a step": lambda n, s, g, e, k: e * math.ceil(n / s),
    "that is one epoch; the run has several": lambda n, s, g, e, k: _steps(n, s, g, 1, k),
    "a step is made or not made: a count has no fraction. Where is something rounded, and which way?": (
        lambda n, s, g, e, k: e * n / (s * g)
    ),
}


def _updates(answer: Callable[..., int]) -> str:
    got = [answer(*run) for run in _RUNS]
    expect(None not in got, NOTHING)
    right = [_steps(*run) for run in _RUNS]
    for hint, mistake in _COUNTS.items():
        expect(got != [mistake(*run) for run in _RUNS] or got == right, hint)
    for run, mine, true in zip(_RUNS, got, right, strict=True):
        words = f"{run[0]:,} reviews, batch {run[1]}, accumulation {run[2]}, {run[3]} epochs, keep_partial={run[4]}"
        expect(mine == true, f"for {words} you gave {mine}; expected {true}")
    return "round up to whole batches, round again to whole groups, then multiply by the epochs"


# --- measuring ---


def _measure(answer: Callable[..., float]) -> str:
    source = review_source()
    model = Probe(dropout=0.5)
    got = number(answer(model, source))
    modes, after = model.calls, model.training
    expect(modes, "your function never called the model")
    expect(
        not any(training for training, _, _ in modes),
        "dropout was on while you measured: the model was in training mode, and a second call gives another number",
    )
    with torch.no_grad():
        group = list(source.epoch(0))
        sums = [float(x) for x in summed_losses(model.eval(), group)]
    means = [total / len(batch) for total, batch in zip(sums, group, strict=True)]
    mistakes = {
        "that is the mean of three batch means: the two reviews of the last batch had the weight of four": sum(means)
        / 3,
        "that is the sum over the ten reviews; divide once, at the end": sum(sums),
        "you added up the batch means and divided by the reviews; a mean has been divided already": sum(means) / 10,
        "you added up the batch means and did not divide": sum(means),
        "that is the last batch alone; is the result overwritten in the loop?": means[-1],
        "that is the first batch alone; does your function return inside the loop?": means[0],
        "you divided by the number of batches; how many reviews are there?": sum(sums) / 3,
    }
    for hint, wrong in mistakes.items():
        expect(not math.isclose(got, wrong, rel_tol=1e-6), hint)
    right = sum(sums) / 10
    expect(
        math.isclose(got, right, rel_tol=1e-6), f"for batches of 4, 4 and 2 you gave {got:.4g}; expected {right:.4g}"
    )
    expect(
        not any(gradients for _, gradients, _ in modes),
        "the number is right, but autograd kept notes of the whole forward pass; nobody will go backward here",
    )
    expect(after, "the number is right, but the model came back in eval mode: training would go on without dropout")
    answer(model.eval(), source)
    expect(
        not model.training,
        "the model came in eval mode and went out in training mode: put it back into the mode it was in",
    )
    return "each review counts once, whatever the batches, and measuring leaves no trace in the model"


# --- accumulation ---


def _accumulated(answer: Callable[..., Tensor], group: list[Batch], words: bool) -> None:
    model, m = Probe(words), len(group)
    result = answer(model, group)
    gradients = [p.grad for p in model.parameters()]
    expect(
        None not in [g if g is None else 0 for g in gradients],
        "after your function the weights have no gradient; where does it go backward?",
    )
    got = torch.cat([g.flatten() for g in gradients])  # type: ignore[union-attr]
    counts = [int((b.targets != IGNORE_INDEX).sum()) for b in group]
    n, never = sum(counts), math.inf
    padded = [b.targets.numel() for b in group]
    mistakes: dict[str, list[float]] = {
        "every micro-batch got the same vote: you averaged their means. A short one counts too much that way; divide "
        "each summed loss by the targets of the whole group": [c * m for c in counts],
        "you added up the means of the micro-batches: the gradient is as many times too long as there are "
        "micro-batches": [*counts],
        "you added up the losses of all targets and did not divide": [1.0] * m,
        "you divided the summed losses by the number of micro-batches; a large batch divides by its targets": [m] * m,
        "only the last micro-batch is in the gradient: is it cleared, or the loss overwritten, inside the loop?": [
            *[never] * (m - 1),
            n,
        ],
        "only the last micro-batch is in the gradient, divided by its own size": [*[never] * (m - 1), counts[-1]],
        "you counted padding among the targets: positions whose target is IGNORE_INDEX ask for nothing": [sum(padded)]
        * m,
        "right while every micro-batch has equal numbers of targets; you divided by rows, and these rows hold several "
        "words each": [sum(len(b) for b in group)] * m,
    }
    right = gradient_of(group, words, [n] * m)
    for hint, divisors in mistakes.items():
        wrong = gradient_of(group, words, divisors)
        expect(not torch.allclose(got, wrong, rtol=1e-6) or torch.allclose(wrong, right, rtol=1e-6), hint)
    times = float(got.norm() / right.norm())
    expect(
        torch.allclose(got, right, rtol=1e-6),
        f"for {' and '.join(map(str, counts))} targets your gradient is not that of the large batch; it is {times:.3g} "
        "times as long",
    )
    expect(
        model.calls[-1][2],
        "the gradient is right, but you went backward once, at the end: until then all micro-batches are in memory, "
        "as with the large batch. Go backward after each one",
    )
    loss, true = number(result), float(torch.stack(summed_losses(model, group)).detach().sum()) / n
    expect(
        math.isclose(loss, true, rel_tol=1e-6), f"the gradient is right; the loss is {true:.4g}, you gave {loss:.4g}"
    )


def _backward_group(answer: Callable[..., Tensor]) -> str:
    _accumulated(answer, list(review_source().epoch(0)), words=False)
    _accumulated(answer, next_words(), words=True)
    return (
        "sum, then divide once by the targets of the group: micro-batches of any size have the large batch's gradient"
    )


# --- leaving and coming back ---


_MISSING = {
    "weights": "without the weights there is no model to go on with",
    "optimizer state": "AdamW keeps running averages for each weight; a new optimizer starts them at zero, and its "
    "first steps have another length",
    "step": "how would the loop know which batches come next, and how far the schedule has come?",
    "random state": "dropout draws anew at each step; from another state it drops others, and the loss differs",
}
_SPARE = {
    "gradients": "gradients are cleared at the start of each update; between two updates nothing depends on them",
    "learning rate": "the rate is schedule(step) times the peak rate: one of the other entries gives it back",
    "order of the reviews": "the order is a function of the seed and the epoch's number; what tells you the epoch?",
    "losses": "good to keep for the record, but no future loss depends on a past one",
}


def _must_be_saved(answer: Iterable[str]) -> str:
    names = ", ".join(sorted([*_MISSING, *_SPARE]))
    expect(isinstance(answer, set | list | tuple), f"expected a set of names, got {type(answer).__name__}")
    chosen = set(answer)
    unknown = chosen - {*_MISSING, *_SPARE}
    expect(not unknown, f"{', '.join(sorted(map(repr, unknown)))} is not on the list; choose from: {names}")
    for name, hint in _MISSING.items():
        expect(name in chosen, hint)
    for name, hint in _SPARE.items():
        expect(name not in chosen, hint)
    return "weights, the optimizer's memory, the step, and the state of the dice: all else can be computed from them"
