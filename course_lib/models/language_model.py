"""`TransformerLM`: a decoder that predicts the next token, GPT-2's form or a modern one (chapter 18).

Shape legend:
    B  batch (sequences)          C  channels, `d_model`      H  heads, `n_heads`
    T  time (tokens in a row)     D  channels a head, C / H   V  vocabulary, `vocab_size`
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.blocks import Block, TransformerConfig, check_ids


@dataclass(frozen=True, kw_only=True)
class LMConfig(TransformerConfig):
    """A character model small enough to train while you watch; the vocabulary is that of the Python 3.11 manual.

    Args:
        style: "gpt2": learned positions and GELU. "modern": rotary positions, normalized queries and keys, and squared
            ReLU, which together learn in fewer steps (EXPERIMENTS.md has the race).
        lookback: How many of the tokens before it each token's vector starts with, each place with a table of its own.
            A layer of attention can learn to fetch them; here they are there from the first step.
    """

    vocab_size: int = 103
    max_length: int = 64
    d_model: int = 128
    n_heads: int = 4
    n_layers: int = 4
    d_ff: int = 512
    dropout: float = 0.0
    style: str = "gpt2"
    lookback: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style not in ("gpt2", "modern"):
            raise ValueError(f"LMConfig.style: expected 'gpt2' or 'modern', got {self.style!r}.")
        if not 0 <= self.lookback < self.max_length:
            raise ValueError(f"LMConfig.lookback: expected 0 to max_length - 1, got {self.lookback}.")
        if self.style == "modern" and self.d_model // self.n_heads % 2:
            raise ValueError(
                "LMConfig.n_heads: rotary positions expected an even d_model / n_heads, "
                f"got {self.d_model // self.n_heads}."
            )


class TransformerLM(nn.Module):
    """Decoder-only transformer: each position sees the past and predicts the next token.

    The output layer is the embedding table itself (tied), so a token is read and written with one vector.

    Args:
        config: Sizes.
    """

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        modern = config.style == "modern"
        self.positions = None if modern else nn.Embedding(config.max_length, config.d_model)
        self.earlier = nn.ModuleList(nn.Embedding(config.vocab_size, config.d_model) for _ in range(config.lookback))
        self.dropout = nn.Dropout(config.dropout)
        activation = "squared_relu" if modern else "gelu"
        self.blocks = nn.ModuleList(
            Block(config, causal=True, activation=activation, rotary=modern) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self._initialize()

    def _initialize(self) -> None:
        """GPT-2's start: small normal weights, zero biases, and layers that write to the stream scaled down."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        writers = ("attention.out.weight", "feed_forward.narrow.weight")  # two a block add their variances
        for name, weight in self.named_parameters():
            if name.endswith(writers):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * self.config.n_layers))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict the next token after each position: ids (B, T) -> logits (B, T, V).

        Padding stands on the right, where a causal model cannot see it, so `mask` is accepted and not needed.
        """
        check_ids(ids, self.config)
        x = self.embedding(ids)  # (B, T) -> (B, T, C)
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]  # (B, T, C) + (T, C)
        for back, table in enumerate(self.earlier, start=1):
            x = x + F.pad(table(ids), (0, 0, back, 0))[:, : ids.shape[1]]  # (B, T, C), shifted: zeros at the start
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        return F.linear(self.norm(x), self.embedding.weight)  # (B, T, C) @ (C, V) -> (B, T, V)
