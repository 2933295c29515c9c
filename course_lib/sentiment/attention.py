"""Where a classifier's first layer looks: the measurement behind the attention pictures of chapter 02.

The chapter asks what such weights are worth; how attention makes them is the subject of chapter 15.

Shape legend: T tokens, C features, H heads, D features a head.
"""

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.models import TransformerClassifier, attention
from course_lib.training import measuring


def attention_received(model: TransformerClassifier, ids: list[int]) -> Tensor:
    """Measure which share of the first layer's attention each token gets.

    Args:
        model: A trained classifier.
        ids: The tokens of one text; what goes beyond the model's max_length is not read.

    Returns:
        Shares (T,) that add up to 1: the mean over all heads and over all tokens that look.

    Raises:
        ValueError: ids is empty.
    """
    if not ids:
        raise ValueError("ids must hold at least one token, got none: an empty text has nothing to look at")
    layer = model.blocks[0].attention
    H: int = layer.n_heads  # type: ignore[union-attr, assignment]
    given: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        given.append(arguments[0])

    row = torch.tensor([ids[: model.config.max_length]])  # (1, T)
    hook = layer.register_forward_pre_hook(keep)  # type: ignore[union-attr]
    try:
        with measuring(model):
            model(row, torch.ones_like(row, dtype=torch.bool))
            heads = layer.qkv(given[0]).view(1, row.shape[1], 3, H, -1)  # type: ignore[union-attr, operator]
    finally:
        hook.remove()
    queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # (1, T, 3, H, D) -> 3 of (1, H, T, D)
    _, weights = attention(queries, keys, values)  # (1, H, T, T)
    return weights[0].mean(dim=(0, 1))
