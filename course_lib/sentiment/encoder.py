"""The rival from scratch: a small encoder that knows nothing but the reviews it is given (chapters 3, 4 and 11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from course_lib.data import Review
from course_lib.models import EncoderConfig, TransformerClassifier
from course_lib.sentiment.trained import Network, Trained, Watch, texts_and_labels, train_network
from course_lib.tokenization import WordTokenizer


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """The small encoder, and how it is trained: chosen on validation, see EXPERIMENTS.md.

    Args:
        vocab_size: words with a vector of their own, the two special tokens included.
        max_length: T, tokens read of a review.
        d_model: C; the feed-forward layer is four times as wide.
        n_layers: blocks.
        dropout: share of activations dropped in training.
        learning_rate: the peak, after a tenth of the run; it falls to 0 in a straight line.
        weight_decay: of AdamW, on every parameter.
        epochs: passes over the reviews.
        batch_size: reviews in a batch.
        precision: "fp32" or "bf16".
    """

    vocab_size: int = 10_000
    max_length: int = 128
    d_model: int = 64
    n_layers: int = 1
    dropout: float = 0.3
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 5
    batch_size: int = 32
    precision: str = "fp32"


def train_encoder(
    reviews: Sequence[Review],
    validation: Sequence[Review] | None = None,
    *,
    seed: int = 0,
    settings: EncoderSettings | None = None,
    on_step: Watch | None = None,
) -> Trained:
    """Train the small encoder from scratch, its vocabulary from these reviews alone.

    Args:
        reviews: what to learn from, both labels among them.
        validation: measured after each epoch and used for nothing else; None measures nothing.
        seed: decides the starting weights, the dropout and the order of the reviews; torch's own generator stays.
        settings: None is `EncoderSettings()`.
        on_step: called after each update, as `training.fit` does.

    Raises:
        ValueError: only one label is there.
    """
    chosen = settings or EncoderSettings()
    texts, _ = texts_and_labels(reviews)
    tokenizer = WordTokenizer.fit(texts, size=chosen.vocab_size)
    names = ("max_length", "d_model", "n_layers", "dropout")
    sizes = {name: getattr(chosen, name) for name in names}
    config = EncoderConfig(vocab_size=tokenizer.vocab_size, d_ff=4 * chosen.d_model, n_heads=4, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = TransformerClassifier(config)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay, fused=True
        )
        network = Network("encoder", model, optimizer, tokenizer.encode)
        return train_network(network, reviews, validation, chosen, seed=seed, on_step=on_step)
