"""Perplexity: a language model's loss, read as a number of equally likely choices. Taught in chapters 10 and 18."""

import math


def perplexity(mean_loss_nats: float) -> float:
    """Return the number of equally likely symbols that would surprise as much as the model was surprised.

    Args:
        mean_loss_nats: cross-entropy summed over all tokens and divided once by their number, nats per token. The
            perplexity of a mean is not the mean of perplexities, so average first. A zero-dimensional tensor will do.

    Returns:
        exp(mean_loss_nats): 1 for a model that is always right and sure, V for one that spreads its belief evenly over
        V symbols, infinity where float64 overflows.

    Raises:
        ValueError: the loss is nan or negative; a mean of negative log-probabilities is neither.

    Source: Jelinek et al. (1977), "Perplexity: a measure of the difficulty of speech recognition tasks", with e for
        the base 2: H (in nats) = mean_loss_nats.
    """
    loss = float(mean_loss_nats)
    if math.isnan(loss) or loss < 0:
        raise ValueError(
            f"mean_loss_nats must be 0 or more, got {loss!r}; check the run for nan, or the loss for its sign"
        )
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
