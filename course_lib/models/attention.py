"""Attention: how tokens exchange information, and two ways to tell them where they stand (chapter 15).

Shape legend:
    B  batch (sequences)          C  channels, `d_model`      H  heads, `n_heads`
    T  time (tokens in a row)     D  channels a head, C / H   V  vocabulary, `vocab_size`
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None = None, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Attention written out to be read; what runs is `scaled_dot_product_attention` of torch, which is equal.

    Args:
        queries: What each position looks for, shape (B, H, T, D).
        keys: What each position offers, shape (B, H, T, D).
        values: What each position hands over when it is looked at, shape (B, H, T, D).
        mask: True where a position may be looked at, broadcast to (B, H, T, T); None lets all be seen.
        causal: Whether position t sees only positions 0 to t.

    Returns:
        The mixed values, shape (B, H, T, D), and the weights that mixed them, (B, H, T, T), each row summing to 1.

    Source:
        Vaswani et al. (2017), equation 1: Q, K, V are queries, keys, values; d_k is D.
    """
    scores = queries @ keys.transpose(-2, -1)  # (B, H, T, D) @ (B, H, D, T) -> (B, H, T, T)
    scores = scores / math.sqrt(queries.shape[-1])  # without it the variance of a score grows with D
    if causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(~ones.tril(), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # exp(-inf) = 0: a hidden position gets no weight
    weights = scores.softmax(dim=-1)
    return weights @ values, weights  # (B, H, T, T) @ (B, H, T, D) -> (B, H, T, D)


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """A fixed vector for each position, shape (length, d_model), from waves of falling frequency.

    Source:
        Vaswani et al. (2017), section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) the cosine.
    """
    position = torch.arange(length).unsqueeze(1)  # (T, 1)
    frequency = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000.0) / d_model))  # (C/2,)
    angle = position * frequency  # (T, 1) * (C/2,) -> (T, C/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (T, C/2, 2) -> (T, C), sin and cos in turn


def rotary_angles(length: int, channels: int) -> Tensor:
    """The angle by which each pair of channels turns at each position, shape (length, channels / 2).

    Source:
        Su et al. (2021), "RoFormer", section 3.2.2: m theta_i with theta_i = base^(-2i/d); d is `channels`. The base is
        1,000 here instead of 10,000, since the course's contexts are short.
    """
    frequency = 1_000.0 ** (-torch.arange(0, channels, 2) / channels)  # (D/2,)
    return torch.arange(length).unsqueeze(1) * frequency  # (T, 1) * (D/2,) -> (T, D/2)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of channels by an angle, so that a query and a key compare by how far apart they stand.

    Args:
        x: Queries or keys, (B, H, T, D).
        angles: (T, D/2), from `rotary_angles`.

    Returns:
        The turned vectors, (B, H, T, D). Lengths do not change.
    """
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)  # (T, D/2)
    first, second = x.chunk(2, dim=-1)  # 2 of (B, H, T, D/2): channel i is paired with channel i + D/2
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)  # (B, H, T, D)


class SelfAttention(nn.Module):
    """Multi-head self-attention: every token asks, answers and is mixed, H times side by side.

    Args:
        d_model: C.
        n_heads: H.
        dropout: Share of the attention weights dropped in training.
        causal: Whether a token sees only itself and the past.
        rotary_length: Longest sequence for rotary positions with normalized queries and keys; None does without both.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        dropout: float = 0.0,
        causal: bool = False,
        rotary_length: int | None = None,
    ) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.causal = n_heads, dropout, causal
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.angles: Tensor | None
        angles = None if rotary_length is None else rotary_angles(rotary_length, d_model // n_heads)
        self.register_buffer("angles", angles, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix token vectors (B, T, C) -> (B, T, C); `mask` (B, T) is True where a token is real."""
        B, T, C = x.shape
        heads = self.qkv(x).view(B, T, 3, self.n_heads, C // self.n_heads)  # (B, T, 3C) -> (B, T, 3, H, D)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # -> 3 of (B, H, T, D)
        if self.angles is not None:
            q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])  # scores stay bounded at high rates
            q, k = rotate(q, self.angles[:T]), rotate(k, self.angles[:T])
        seen = None if mask is None else mask[:, None, None, :]  # (B, T) -> (B, 1, 1, T): hides keys, not queries
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(B, T, C))  # (B, H, T, D) -> (B, T, H, D) -> (B, T, C)
