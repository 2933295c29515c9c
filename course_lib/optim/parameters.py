"""Around the update: which parameters decay, and how long their common gradient may be. Taught in chapter 08."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a model's trainable parameters into those that decay and those that do not.

    The number of dimensions decides: matrices decay, and so do embedding tables; vectors (biases, and the gains of
    LayerNorm) do not. Shrinking a matrix limits how strongly outputs react to inputs. Shrinking a bias or a gain
    limits nothing of the kind and only pulls it from the value it needs.

    Args:
        model: each of its parameters that requires a gradient is listed once, tied weights included.
        weight_decay: lambda of the parameters that decay, 0 or more.

    Returns:
        One or two groups for an optimizer, with decay first; a kind that the model lacks has no group.

    Raises:
        ValueError: weight_decay is negative or nan, or no parameter requires a gradient.

    Source: the rule of nanoGPT (Karpathy, `configure_optimizers`), embeddings included. Recipes of BERT's kind name the
        exceptions instead (biases and LayerNorm), which comes to the same parameters.
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more, got {weight_decay!r}")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]  # torch lists tied ones once
    if not trainable:
        raise ValueError("model must have a parameter that requires a gradient, got none; was everything frozen?")
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> Tensor:
    """Shorten all gradients by one common factor, so that together they are at most `max_norm` long.

    The direction stays. The factor is min(1, max_norm / (norm + 1e-6)), computed as a tensor where the gradients are:
    nothing waits for the device, and gradients that are short enough are multiplied by 1.

    Args:
        parameters: a tensor or several; those without a gradient are skipped.
        max_norm: the longest allowed, above 0; math.inf measures without clipping.

    Returns:
        The norm of all gradients as one vector BEFORE clipping, a scalar; 0 where there are none. A norm that is nan or
        infinite means that the gradients are spoiled, clipped or not: look at it before you step.

    Raises:
        ValueError: max_norm is not above 0.

    Source: Pascanu, Mikolov and Bengio (2013), algorithm 1: g-hat = the gradients, threshold = max_norm. Equal to
        torch.nn.utils.clip_grad_norm_, from which the 1e-6 comes.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm!r}; leave the call out to train without clipping")
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [parameter.grad for parameter in listed if parameter.grad is not None]
    if not gradients:
        return torch.tensor(0.0)
    # The norm of the norms is the norm of everything: sqrt(sum of all squares).
    norms = [torch.linalg.vector_norm(gradient).to(gradients[0].device) for gradient in gradients]
    total = torch.linalg.vector_norm(torch.stack(norms))
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.device))
    return total
