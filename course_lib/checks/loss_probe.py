"""What chapter 07's self-checks share, and the check of a loss that must survive logits of any size.

Each probe breaks one way of writing the loss: the naive formula, a log taken too late, a clip, a shift by the mean, and
a shift by the maximum of the whole batch.

Shape legend: B rows (predictions), V classes.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.checks.answers import Hint, expect
from course_lib.losses import log_softmax

_NOTHING = "nothing came back from your function; is there a return?"
_NAIVE = (
    "for one row of logits 1000, 999 and 998 you gave {got}, the loss is {right:.4g}: exp(1000) is infinite. What can "
    "you subtract from all logits of a row without changing its probabilities?"
)
_CLIPPED = (
    "for logits 0 and -120 and right class 1 you gave {got:.4g}, the loss is {right:.4g}. A small number added before "
    "the log, or a clip, hides the overflow and caps the loss, and where it caps there is no slope. Never form the "
    "probability: take its log on paper first"
)
_LOG_OF_ZERO = (
    "for logits 0 and -120 and right class 1 you gave {got}, the loss is {right:.4g}. The softmax survived, but the "
    "probability was rounded to 0, and log(0) is infinite. Do not form the probability: take its log on paper first"
)
_MEAN_SHIFT = (
    "for one row of logits 1000 and 0 you gave {got}, the loss is {right:.4g}. After your subtraction an exp can still "
    "overflow or vanish (more digits move that border only). Which number of the row makes the largest exp exactly 1?"
)
_BATCH_SHIFT = (
    "each row alone is right, but for rows (1000, 999) and (0, 1) together you gave {got}, the loss is {right:.4g}. "
    "Subtract from each row its own maximum: with the whole batch's, every exp of the second row is 0"
)


def as_tensor(answer: object, what: str) -> Tensor:
    """The answer as a float64 tensor without its graph, or the hint on why it is none."""
    expect(answer is not None, _NOTHING)
    try:
        plain = answer.detach() if isinstance(answer, Tensor) else answer
        return torch.as_tensor(plain, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Hint(f"expected {what}, got {type(answer).__name__}: {answer!r}") from error


def _show(numbers: Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in numbers.flatten().tolist())


def compare(got: Tensor, right: Tensor, mistakes: dict[str, Tensor], task: str) -> None:
    """Accept the right numbers; else give the hint of the mistake that produces what came, or both side by side."""
    if torch.allclose(got, right, rtol=1e-5, atol=1e-7):
        return
    for hint, wrong in mistakes.items():
        expect(not torch.allclose(got, wrong, rtol=1e-5, atol=1e-7), hint)
    raise Hint(f"{task} you gave {_show(got)}; expected {_show(right)}")


def _plain_mistakes(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """What the likely mistakes give where nothing overflows, by their hints."""
    logp = log_softmax(logits)  # (B, V)
    picked = logp.gather(1, targets.unsqueeze(1)).squeeze(1)  # (B,)
    score = logits.gather(1, targets.unsqueeze(1)).squeeze(1)  # (B,)
    total = logits.logsumexp(1)  # (B,)
    top = logits.amax(1)  # (B,)
    return {
        "the sign is turned: log-probabilities are negative, the loss is minus their mean": picked.mean(),
        "that is the sum over the rows; divide once by their number": -picked.sum(),
        "you averaged over all classes; only the right class of each row counts. Which function picks one entry of "
        "each row?": -logp.mean(),
        "you added up all classes of a row; only the right class of each row counts": -logp.sum(1).mean(),
        "logits[:, targets] takes every row's entry for every target; you want row i's entry for target i": (
            -logp[:, targets].mean()
        ),
        "that is the log of the sum alone; where is the right class's score?": total.mean(),
        "that is how far the right class's score lies below the maximum; the log of the sum is missing": (
            (top - score).mean()
        ),
        "you took the maximum away inside the sum, but not from the right class's score; it cancels only if both lose "
        "it": (total - top - score).mean(),
        "that is the log of the mean probability; take the log of each row first, then the mean": (
            -picked.exp().mean().log()
        ),
        "that is minus the mean probability of the right classes; the loss has a logarithm": -picked.exp().mean(),
        "that is in bits; torch.log gives nats": -picked.mean() / math.log(2),
        "softmax was applied twice: what goes into the log-softmax are the logits": (
            -log_softmax(logp.exp()).gather(1, targets.unsqueeze(1)).mean()
        ),
    }


def _loss_of(
    answer: Callable[[Tensor, Tensor], Tensor], rows: Sequence[Sequence[float]], targets: list[int]
) -> tuple[float, float]:
    """What the learner's function gives for these rows, and the right loss (both float)."""
    logits, classes = torch.tensor(rows), torch.tensor(targets)  # (B, V) float32, (B,)
    got = as_tensor(answer(logits, classes), "one number, the mean loss")
    return float(got), float(-log_softmax(logits).gather(1, classes.unsqueeze(1)).mean())


def _survives(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Logits that break one kind of answer each; the order makes the hint the right one."""
    got, right = _loss_of(answer, [[1000.0, 999.0, 998.0]], [1])
    expect(math.isclose(got, right, rel_tol=1e-4), _NAIVE.format(got=got, right=right))
    got, right = _loss_of(answer, [[0.0, -120.0]], [1])
    expect(math.isfinite(got), _LOG_OF_ZERO.format(got=got, right=right))
    expect(math.isclose(got, right, rel_tol=1e-4), _CLIPPED.format(got=got, right=right))
    got, right = _loss_of(answer, [[1000.0, 0.0]], [1])
    expect(math.isclose(got, right, rel_tol=1e-4), _MEAN_SHIFT.format(got=got, right=right))
    got, right = _loss_of(answer, [[1000.0, 999.0], [0.0, 1.0]], [0, 0])
    expect(math.isclose(got, right, rel_tol=1e-4), _BATCH_SHIFT.format(got=got, right=right))


def try_stable_loss(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Run a learner's loss on moderate logits, on extreme ones, and backward."""
    rows = torch.tensor([[2.0, 1.0, 0.1, -1.0], [0.5, 2.5, 0.0, 1.0], [-1.0, 0.3, 1.2, 0.4]])  # (3, 4)
    targets = torch.tensor([0, 3, 2])  # (3,)
    logits = rows.clone()
    got = as_tensor(answer(logits, targets), "one number, the mean loss")
    expect(torch.equal(logits, rows), "your function changed the logits it was given; work on a new tensor")
    expect(got.numel() == 1, f"expected one number for the batch, yours has shape {tuple(got.shape)}: take the mean")
    right = -log_softmax(rows).gather(1, targets.unsqueeze(1)).mean().double()
    mistakes = {hint: wrong.double() for hint, wrong in _plain_mistakes(rows, targets).items()}
    compare(got.reshape(()), right, mistakes, "for three rows of moderate logits")
    _survives(answer)
    leaf = rows.clone().requires_grad_()
    loss = answer(leaf, targets)
    expect(
        isinstance(loss, Tensor) and loss.requires_grad,
        "the number is right everywhere, but nobody can go backward through it: return the tensor, without .item(), "
        ".detach() or float()",
    )
    loss.sum().backward()
    expected = (rows.softmax(1) - torch.nn.functional.one_hot(targets, 4)) / 3  # (3, 4)
    wrong = "the loss is right everywhere, but autograd's slopes through it are not; was some part of it detached?"
    expect(leaf.grad is not None and torch.allclose(leaf.grad, expected, atol=1e-6), wrong)
    return "subtract each row's maximum, and the largest exp is 1: nothing overflows, and the loss is exact at any size"
