"""`TransformerClassifier`: the encoder of the third source document, piece by piece (chapter 15).

Shape legend:
    B  batch (sequences)          C  channels, `d_model`      H  heads, `n_heads`
    T  time (tokens in a row)     D  channels a head, C / H   V  vocabulary, `vocab_size`
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.models.attention import sinusoidal_positions
from course_lib.models.blocks import Block, TransformerConfig, check_ids


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Average over the real tokens only: (B, T, C) and a mask (B, T), True where real, -> (B, C)."""
    weight = mask.unsqueeze(-1).to(x.dtype)  # (B, T) -> (B, T, 1)
    return (x * weight).sum(dim=1) / weight.sum(dim=1)  # padding would otherwise be averaged in


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(TransformerConfig):
    """The classifier of the third source document; its defaults have 5,785,858 parameters.

    Args:
        n_classes: Labels to tell apart.
    """

    vocab_size: int = 10_000
    max_length: int = 256
    d_model: int = 256
    n_heads: int = 8
    n_layers: int = 4
    d_ff: int = 1024
    dropout: float = 0.1
    n_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_classes < 2:
            raise ValueError(f"EncoderConfig.n_classes: expected at least 2, got {self.n_classes}.")


class TransformerClassifier(nn.Module):
    """Encoder-only transformer: tokens, positions, blocks, masked mean, two-layer head.

    Args:
        config: Sizes; the defaults give exactly 5,785,858 parameters.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)  # times sqrt(C) in forward: unit variance
        self.positions: Tensor
        self.register_buffer("positions", sinusoidal_positions(config.max_length, config.d_model), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Sequential(
            nn.Linear(config.d_model, config.d_model),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_model, config.n_classes),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Classify token ids (B, T) with mask (B, T), True where real, -> logits (B, n_classes).

        Positions count real tokens only, so the side of the padding changes nothing.
        """
        check_ids(ids, self.config, mask)
        place = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
        x = self.embedding(ids) * math.sqrt(self.config.d_model) + self.positions[place]  # (B, T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask)  # (B, T, C)
        return self.head(masked_mean(self.norm(x), mask))  # (B, C) -> (B, n_classes)
