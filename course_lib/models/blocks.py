"""The block that both transformers stack, and the sizes they share (chapter 15).

Shape legend:
    B  batch (sequences)          C  channels, `d_model`      H  heads, `n_heads`
    T  time (tokens in a row)     D  channels a head, C / H   V  vocabulary, `vocab_size`
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.attention import SelfAttention


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes that both transformers share.

    Args:
        vocab_size: Rows of the embedding table.
        max_length: Longest sequence, in tokens.
        d_model: Channels of every token vector.
        n_heads: Attention heads; must divide d_model.
        n_layers: Blocks.
        d_ff: Hidden units of the feed-forward layer of each block.
        dropout: Share of activations set to zero in training.
    """

    vocab_size: int
    max_length: int
    d_model: int
    n_heads: int
    n_layers: int
    d_ff: int
    dropout: float

    def __post_init__(self) -> None:
        for field in ("vocab_size", "max_length", "d_model", "n_heads", "n_layers", "d_ff"):
            if getattr(self, field) < 1:
                raise ValueError(f"{type(self).__name__}.{field}: expected at least 1, got {getattr(self, field)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"{type(self).__name__}.dropout: expected 0 <= dropout < 1, got {self.dropout}.")
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(
                f"{type(self).__name__}.d_model: expected an even multiple of n_heads={self.n_heads}, "
                f"got {self.d_model}."
            )


def squared_relu(x: Tensor) -> Tensor:
    """ReLU, squared: So et al. (2021), "Primer", found that it learns in fewer steps."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "squared_relu": squared_relu}
"""What can bend the hidden units of a feed-forward layer."""


class FeedForward(nn.Module):
    """A small network applied to each token by itself: widen, bend, narrow."""

    def __init__(self, config: TransformerConfig, activation: str) -> None:
        super().__init__()
        self.widen = nn.Linear(config.d_model, config.d_ff)
        self.narrow = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.bend = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        hidden = self.bend(self.widen(x))  # (B, T, C) -> (B, T, d_ff)
        return self.narrow(self.dropout(hidden))  # (B, T, d_ff) -> (B, T, C)


class Block(nn.Module):
    """One layer: attention between tokens, then a small network on each token, both added to a running stream.

    Args:
        config: Sizes.
        causal: Whether a token sees only itself and the past.
        activation: "relu", "gelu" or "squared_relu".
        rotary: Whether attention turns its queries and keys by position, and normalizes them.
    """

    def __init__(
        self, config: TransformerConfig, *, causal: bool = False, activation: str = "relu", rotary: bool = False
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = SelfAttention(
            config.d_model,
            config.n_heads,
            dropout=config.dropout,
            causal=causal,
            rotary_length=config.max_length if rotary else None,
        )
        self.feed_forward_norm = nn.LayerNorm(config.d_model)
        self.feed_forward = FeedForward(config, activation)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refine token vectors (B, T, C) -> (B, T, C); `mask` (B, T) is True where a token is real."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


def check_ids(ids: Tensor, config: TransformerConfig, mask: Tensor | None = None) -> None:
    """Refuse token ids that are not (B, T) or longer than the model reads, and a mask that does not fit them.

    Raises:
        ValueError: Says what was expected and what came.
    """
    if ids.dim() != 2 or ids.shape[1] > config.max_length or not ids.numel():
        raise ValueError(
            f"expected token ids of shape (B, T) with B and T at least 1 and T at most max_length={config.max_length}, "
            f"got {tuple(ids.shape)}; cut the text or raise max_length."
        )
    if mask is not None and (mask.shape != ids.shape or mask.dtype != torch.bool):
        raise ValueError(
            f"expected a mask of bool in the shape of the token ids, {tuple(ids.shape)}, "
            f"got {mask.dtype} in {tuple(mask.shape)}."
        )


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """Number of parameters, a shared one counted once; only those that learn if `trainable`."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
