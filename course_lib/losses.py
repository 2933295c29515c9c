"""Cross-entropy, written out: how surprised a model was by the right answer, in nats.

The loss of one example is the negative logarithm of the probability that the model gave to the correct class. Chapter
07 (`notebooks/07_loss.ipynb`) builds it, breaks the naive version, and arrives at this one.

Shape legend: `...` any leading shape, such as (B,) reviews or (B, T) tokens; V classes, or symbols of the vocabulary.
The classes are the last dimension, as a model returns them (torch.nn.functional.cross_entropy wants them second).
"""

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def log_softmax(logits: Tensor) -> Tensor:
    """Turn scores into log-probabilities without overflow.

    Args:
        logits: scores of any size, (..., V). float16 and bfloat16 are computed in float32, because a sum over V terms
            needs more than the 3 or 2 decimal digits that they carry.

    Returns:
        Log-probabilities in nats, (..., V); their exponentials add up to 1 over V. A logit of -inf gets -inf
        (probability 0); a row that holds nothing but -inf, or +inf, or nan, gets nan, as in torch.

    Source: Blanchard, Higham and Higham (2021), "Accurately computing the log-sum-exp and softmax functions",
        section 1, the shifted formula: x = logits, a = the row's maximum.
    """
    shifted, log_total = _shift(_at_least_float32(logits))  # (..., V), (...)
    return shifted - log_total.unsqueeze(-1)  # (..., V) - (..., 1)


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average, or add up, the negative log-probability of each correct class.

    Args:
        logits: scores, (..., V); half precision is computed, and returned, in float32.
        targets: the correct classes 0 to V - 1, whole numbers, (...).
        ignore_index: a target with this value counts neither in the sum nor in the number that divides it (padding).
        label_smoothing: the share of the target that is spread evenly over all V classes, 0 to 1.
        reduction: "mean" divides the sum once, by the number of targets that count; "sum"; or "none".

    Returns:
        The loss in nats: a scalar, or (...) for "none", where ignored positions hold 0.

    Raises:
        ValueError: the shapes do not fit, an argument is out of its range, or (targets on the CPU only) a target is not
            a class, or "mean" has nothing to average. On an accelerator, reading a value would make the CPU wait for
            the device in every step. There the device's own assertion stops a wrong target, and a mean over nothing
            is nan, as in torch.

    Source: Goodfellow, Bengio and Courville, "Deep Learning" (2016), equation 6.30: z = logits, i = targets. Label
        smoothing: Szegedy et al. (2016), section 7: epsilon = label_smoothing, K = V, u(k) = 1 / V.
    """
    _check_arguments(logits, targets, label_smoothing, reduction)
    targets = targets.long()
    ignored = _ignored_positions(targets, logits.shape[-1], ignore_index)  # (...) or None
    if ignored is not None:
        targets = targets.masked_fill(ignored, 0)  # any class will do: the loss there is set to 0 below

    # -log p[target] = log(sum(exp(shifted))) - shifted[target]
    shifted, log_total = _shift(_at_least_float32(logits))  # (..., V), (...)
    score = shifted.gather(-1, targets.unsqueeze(-1)).squeeze(-1)  # (..., V) at (..., 1) -> (...)
    if label_smoothing > 0:
        score = (1 - label_smoothing) * score + label_smoothing * shifted.mean(-1)  # (...)
    losses = log_total - score  # (...)
    if ignored is not None:
        losses = losses.masked_fill(ignored, 0.0)

    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / (targets.numel() if ignored is None else _count_kept(ignored))


def _shift(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits less their row's maximum, (..., V), and the log of the sum of their exponentials, (...).

    exp(89) is beyond float32. Subtracting the same number from each score of a row multiplies every exp by the same
    factor, which cancels in the probabilities. With the maximum subtracted the largest exp is exp(0) = 1: nothing
    overflows, and the sum is at least 1, so its logarithm is finite. Because the shift cancels, so does its gradient,
    and the maximum can be detached.
    """
    shifted = logits - logits.detach().amax(-1, keepdim=True)  # (..., V) - (..., 1)
    return shifted, shifted.exp().sum(-1).log()


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _check_arguments(logits: Tensor, targets: Tensor, label_smoothing: float, reduction: str) -> None:
    """Refuse what shapes, types and settings alone can show to be wrong; no value of a tensor is read."""
    if logits.ndim == 0 or logits.shape[-1] == 0 or not logits.is_floating_point():
        raise ValueError(
            f"logits must be floating point, (..., V) with V of at least 1, got {logits.dtype} {tuple(logits.shape)}"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be whole numbers (torch.long), got {targets.dtype}; pass class indices")
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets must have the shape of logits without its last dimension, {tuple(logits.shape[:-1])}, "
            f"got {tuple(targets.shape)}; the classes come last in logits"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    if reduction == "mean" and targets.numel() == 0:
        raise ValueError('reduction="mean" has nothing to average: targets is empty; skip empty batches')


def _ignored_positions(targets: Tensor, n_classes: int, ignore_index: int) -> Tensor | None:
    """Return the mask of ignored positions, (...), or None where it is known that there are none.

    Raises:
        ValueError: targets on the CPU hold a value that is not a class.
    """
    if targets.device.type != "cpu":
        return targets == ignore_index
    if targets.numel() > 0:
        lowest, highest = torch.aminmax(targets)  # one cheap pass; the masks below are rarely needed
        if int(lowest) >= 0 and int(highest) < n_classes and not 0 <= ignore_index < n_classes:
            return None
    ignored = targets == ignore_index
    wrong = ((targets < 0) | (targets >= n_classes)) & ~ignored
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"targets must be classes 0 to {n_classes - 1} (or ignore_index={ignore_index}), got "
            f"{int(targets[position])} at position {position}; check the labels, or the width of the model's head"
        )
    return ignored


def _count_kept(ignored: Tensor) -> Tensor:
    """Return how many positions count, as a tensor, so that an accelerator need not report it."""
    count = (~ignored).sum()
    if count.device.type == "cpu" and int(count) == 0:
        raise ValueError('reduction="mean" has nothing to average: every target is ignored; skip such batches')
    return count
