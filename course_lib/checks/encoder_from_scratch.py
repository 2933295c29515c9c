"""Self-checks of chapter 15: attention and the count of an encoder here, the three on runs in the module beside it.

Each check computes, beside the right answer, the ones that the likely mistakes give. An answer that equals one of them
gets that mistake's hint; any other gets the numbers side by side.

Shape legend: B reviews, H heads, T tokens, D channels a head, C channels (`d_model`).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.checks.answers import Verdict, expect, judge
from course_lib.checks.encoder_from_scratch_runs import check_guard, check_table, check_verdicts
from course_lib.checks.probe import NOTHING, number
from course_lib.models import EncoderConfig

__all__ = ["attend", "from_the_table", "guard", "parameters", "verdicts"]


def attend(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Verdict:
    """Check `attend(queries, keys, values, mask)`: masked attention of all heads.

    Args:
        answer: The learner's function of three (B, H, T, D) and a mask (B, T), True where a token is real.

    Returns:
        The verdict to show.
    """
    return judge(answer, _attend)


def parameters(answer: Callable[[EncoderConfig], int]) -> Verdict:
    """Check `parameters(config)`: the count of an encoder.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, _parameters)


def from_the_table(answer: tuple[float, float, float]) -> Verdict:
    """Check three numbers that follow from the document's table.

    Args:
        answer: The learner's (wrong in epoch 1, batches in an epoch, nats of all batches of epoch 1 together).

    Returns:
        The verdict to show.
    """
    return judge(answer, check_table)


def guard(answer: Callable[[list[int], list[int]], None]) -> Verdict:
    """Check `guard(train_labels, test_labels)`, which raises ValueError where nothing could be learned or measured.

    Args:
        answer: The learner's function.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_guard)


def verdicts(answer: tuple[str, str, str, str]) -> Verdict:
    """Check what is said of four recorded logs.

    Args:
        answer: The learner's four words, for the logs A to D.

    Returns:
        The verdict to show.
    """
    return judge(answer, check_verdicts)


# --- attention ---

_MASK = torch.tensor([[True] * 5, [False, False, True, True, True], [True, True, True, True, False]])  # (B, T)


def _mixed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scale: float | None = None,
    dim: int = -1,
    fill: float = -math.inf,
    hide: str = "keys",
) -> Tensor:
    """Masked attention (B, H, T, D), or one of the mistakes in it."""
    scores = q @ k.transpose(-2, -1)  # (B, H, T, D) @ (B, H, D, T) -> (B, H, T, T)
    scores = scores / (math.sqrt(q.shape[-1]) if scale is None else scale)
    seen = mask[:, None, None, :]  # (B, 1, 1, T)
    if hide == "queries":
        seen = mask[:, None, :, None]
    if hide in ("keys", "queries"):
        scores = scores.masked_fill(~seen, fill)
    elif hide == "real":
        scores = scores.masked_fill(seen, fill)
    weights = scores.softmax(dim=dim) if dim else scores
    if hide == "afterwards":
        weights = weights * seen
    return weights @ v  # (B, H, T, T) @ (B, H, T, D) -> (B, H, T, D)


_ATTENTION_MISTAKES: dict[str, dict[str, object]] = {
    "the scores are not divided: by the root of D, so that they do not grow with the width of a head": {"scale": 1.0},
    "you divide by D. It is its root: a sum of D products grows like the root of D": {"scale": 8.0},
    "you divide by the root of T. The scores are sums over the D channels of a head": {"scale": math.sqrt(5)},
    "you divide by the root of all channels together. Each head sees its own D, the last size of `queries`": {
        "scale": math.sqrt(24)
    },
    "the weights of each key add up to 1 over the queries. It is each query that shares out one whole: dim=-1": {
        "dim": -2
    },
    "the scores are not made into weights: softmax makes each row positive with sum 1": {"dim": 0, "fill": 0.0},
    "padding gets a score of 0, and exp(0) is 1: it still gets a weight. Which score gives a weight of 0?": {
        "fill": 0.0
    },
    "the weights of padding were set to 0 after the softmax, so what is left adds up to less than 1": {
        "hide": "afterwards"
    },
    "the mask is upside down: it is True where a token is real, and padding is to be hidden": {"hide": "real"},
    "the mask hides rows. Padding must not be looked at: it is the keys that are hidden, mask[:, None, None, :]": {
        "hide": "queries"
    },
    "the mask is not used: padding is looked at like any word": {"hide": "nothing"},
}


def _attend(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> str:
    generator = torch.Generator().manual_seed(15)
    q, k, v = torch.randn(3, 3, 3, 5, 8, generator=generator, dtype=torch.float64)  # (3, B, H, T, D)
    got = answer(q.clone(), k.clone(), v.clone(), _MASK.clone())
    expect(got is not None, NOTHING)
    expect(
        isinstance(got, Tensor),
        f"expected a tensor, got {type(got).__name__}; the weights themselves are not asked for",
    )
    expect(got.shape != (3, 3, 5, 5), "these are the weights (B, H, T, T). What do they mix?")
    expect(got.shape == v.shape, f"expected the shape of the values, {tuple(v.shape)}, got {tuple(got.shape)}")
    for hint, mistake in _ATTENTION_MISTAKES.items():
        wrong = _mixed(q, k, v, _MASK, **mistake)  # type: ignore[arg-type]
        expect(not torch.allclose(got, wrong, atol=1e-6, equal_nan=True), hint)
    right = _mixed(q, k, v, _MASK)
    off = (got - right).abs().max()
    expect(torch.allclose(got, right, atol=1e-6), f"the numbers differ from equation 1 by up to {off:.3g}")
    return "each query shares one whole among the real keys, and takes the mixture of their values"


# --- the count ---

_CONFIGS = (
    EncoderConfig(),
    EncoderConfig(vocab_size=3000, max_length=64, d_model=32, n_heads=4, n_layers=2, d_ff=96, n_classes=5),
    EncoderConfig(n_heads=16, max_length=512),
    EncoderConfig(n_layers=6, d_ff=2048),
)


def _count(
    c: EncoderConfig,
    *,
    biases: int = 1,
    maps: int = 4,
    norms: int = 2,
    gains: int = 2,
    feed: int = 2,
    last: int = 1,
    places: int = 0,
    wide: int = 1,
    heads: bool = False,
    once: bool = False,
) -> int:
    """The count of an encoder, or one of the mistakes in it."""
    C, F = c.d_model, c.d_ff
    attention = maps * (C * C + biases * C) * (c.n_heads if heads else 1)
    forward = feed * C * F + biases * (F + (C if feed == 2 else 0))
    block = attention + forward + norms * gains * C
    head = wide * (C * C + biases * C) + C * c.n_classes + biases * c.n_classes
    return c.vocab_size * C + places * c.max_length * C + (1 if once else c.n_layers) * block + last * gains * C + head


_COUNT_MISTAKES: dict[str, dict[str, int]] = {
    "one bias for each output is missing: `nn.Linear(a, b)` has a * b + b": {"biases": 0},
    "attention has four maps from C to C: queries, keys, values, and the one that mixes the heads at the end": {
        "maps": 3
    },
    "the heads share the maps: 8 heads of 32 channels are 256 channels. Their number changes no count": {"heads": True},
    "positions were counted. They are computed from a formula; nothing in them is trained": {"places": 1},
    "a block has two norms, one before attention and one before the feed-forward layer": {"norms": 1},
    "the blocks' norms are missing: each has a gain and a bias for each channel": {"norms": 0},
    "a norm has two vectors, a gain and a bias": {"gains": 1},
    "the feed-forward layer goes from C to d_ff, and back": {"feed": 1},
    "the norm after the last block is missing": {"last": 0},
    "the head has two layers: C to C, then C to the classes": {"wide": 0},
    "there are n_layers blocks, each with weights of its own": {"once": 1},
}


def _parameters(answer: Callable[[EncoderConfig], int]) -> str:
    got = [number(answer(config)) for config in _CONFIGS]
    for hint, mistake in _COUNT_MISTAKES.items():
        expect(got != [_count(config, **mistake) for config in _CONFIGS], hint)  # type: ignore[arg-type]
    for config, mine in zip(_CONFIGS, got, strict=True):
        right = _count(config)
        expect(mine == right, f"for {config} you gave {mine:,.0f}, expected {right:,}: {mine - right:+,.0f}")
    return "it gives 5,785,858 for the document's sizes, and the same for 16 heads and 512 positions"
