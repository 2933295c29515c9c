"""Text from a language model, one token at a time (chapters 01 and 18).

A language model gives logits for the next token. Everything here is about what to do with them: take the likeliest
(greedy), or draw one, after making the distribution sharper (temperature) or cutting off its tail (top-k, top-p).

Shape legend:
    B: sequences side by side    T: tokens so far    V: vocabulary
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Logits = Callable[[Tensor], Tensor]
"""From token ids (B, T) to the logits of the next token (B, V)."""


def next_token_logits(model: nn.Module, context: int) -> Logits:
    """Wrap a language model so that it looks at no more than its last `context` tokens.

    Args:
        model: From ids (B, T) to logits (B, T, V). Its device is used; its mode is left alone.
        context: Longest input that the model takes, in tokens.
    """
    device = next(model.parameters()).device

    def logits(ids: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(ids[:, -context:].to(device))[:, -1].float().cpu()  # (B, T, V) -> (B, V)

    return logits


def filter_logits(
    logits: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Reshape the distribution that the next token is drawn from.

    Args:
        logits: Scores (B, V).
        temperature: Divides the logits: below 1 sharper, above 1 flatter.
        top_k: Keep the k likeliest tokens; None keeps all.
        top_p: Of these, keep the fewest whose probabilities reach p together; None keeps all.

    Returns:
        Logits (B, V) in which every token that is not kept has -inf.

    Raises:
        ValueError: temperature is not above 0, top_k is below 1, or top_p is outside (0, 1].

    Source:
        Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1 (nucleus sampling).
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected above 0, got {temperature}; for the likeliest token ask for greedy.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected at least 1, got {top_k}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected above 0 and at most 1, got {top_p}.")
    logits = logits / temperature
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)  # (B, V); of equal tokens the first wins
    if top_k is not None:
        ranked[:, top_k:] = -math.inf
    if top_p is not None and top_p < 1:  # at 1 all stay; a rounded sum would lose some
        probabilities = ranked.softmax(dim=-1)  # of what top_k kept
        reached_before = probabilities.cumsum(dim=-1) - probabilities  # (B, V): what likelier tokens already hold
        drop = reached_before >= top_p
        drop[:, 0] = False  # rounding may never drop the likeliest
        ranked = ranked.masked_fill(drop, -math.inf)
    return torch.empty_like(ranked).scatter(-1, order, ranked)  # back into the order of the vocabulary


def generate(
    logits: Logits,
    prompt: Tensor,
    *,
    max_new_tokens: int,
    greedy: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Continue a prompt, token by token.

    Args:
        logits: Gives the next token's logits.
        prompt: Token ids (B, T), T at least 1.
        max_new_tokens: How many tokens to add.
        greedy: Take the likeliest token each time instead of drawing one.
        temperature: See `filter_logits`.
        top_k: See `filter_logits`.
        top_p: See `filter_logits`.
        seed: Starts a generator of its own, so that drawing text disturbs no training run.

    Yields:
        The next token of every sequence, (B,).

    Raises:
        ValueError: The prompt is empty, or an argument is out of its range.
    """
    if prompt.dim() != 2 or not prompt.numel():
        raise ValueError(f"prompt: expected token ids of shape (B, T) with T at least 1, got {tuple(prompt.shape)}.")
    generator = torch.Generator().manual_seed(seed)
    ids = prompt.cpu()
    for _ in range(max_new_tokens):
        scores = logits(ids)  # (B, V)
        if greedy:
            token = scores.argmax(dim=-1)  # (B,)
        else:
            scores = filter_logits(scores, temperature=temperature, top_k=top_k, top_p=top_p)
            token = torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).squeeze(-1)  # (B, 1) -> (B,)
        yield token
        ids = torch.cat([ids, token.unsqueeze(-1)], dim=-1)  # (B, T) -> (B, T + 1)
