"""The small encoder driven past its best: what chapter 11 shows of overfitting and of the remedies for it.

A `Variant` is everything about a run but its seed. All of them make about the same number of updates (632 or 640), so
that a remedy is compared with the baseline at equal work; eight times on the way the model is measured on 500 of its
training reviews and on the 500 validation reviews. `python -m course_lib.recorded.overfitting` trains every variant
with every seed (about a quarter of an hour on one core) and writes `overfitting.json`; the chapter trains the
baseline live with the same `train`.

Shape legend: N reviews measured.
"""

import math
import random
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from course_lib import metrics, recorded
from course_lib.data import Review, ReviewBatches, load_reviews
from course_lib.losses import cross_entropy
from course_lib.sentiment import EncoderSettings, Trained, train_encoder
from course_lib.tokenization import WordTokenizer
from course_lib.training import RunState, predict

SEEDS = (0, 1, 2, 3, 4)
POINTS = 8
"""Measurements in a run, evenly apart; the baseline makes one after each of its eight epochs."""
_EVAL_BATCH = 100  # reviews side by side where no gradient is kept
MEASURED = 500
"""Training reviews that a measurement reads: the first ones, as many as there are for validation."""


BASE = EncoderSettings(
    vocab_size=10_000,
    max_length=128,
    d_model=64,
    n_layers=1,
    dropout=0.3,
    learning_rate=3e-3,
    weight_decay=0.01,
    epochs=POINTS,
    batch_size=32,
    precision="fp32",
)
"""Written out, so that the recorded runs stay what they are when the course's encoder gets other defaults."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Everything about a run but its seed.

    Args:
        settings: The encoder and how it is trained.
        reviews: How many of the training reviews it gets, drawn by the seed.
        noise: Share of their labels that is flipped, drawn by the seed.
    """

    settings: EncoderSettings = BASE
    reviews: int = 2500
    noise: float = 0.0


def _with(**changes: Any) -> Variant:
    return Variant(settings=replace(BASE, **changes))


VARIANTS = {
    "baseline": Variant(),
    "weight decay 1": _with(weight_decay=1.0),
    "weight decay 10": _with(weight_decay=10.0),
    "dropout 0": _with(dropout=0.0),
    "dropout 0.6": _with(dropout=0.6),
    "width 16": _with(d_model=16),
    "width 8": _with(d_model=8),
    "1,250 reviews": replace(_with(epochs=2 * POINTS), reviews=1250),
    "625 reviews": replace(_with(epochs=4 * POINTS), reviews=625),
    "10% wrong labels": Variant(noise=0.1),
    "20% wrong labels": Variant(noise=0.2),
    "40% wrong labels": Variant(noise=0.4),
}
"""The baseline, then runs that differ from it in one thing."""

SHORT = _with(epochs=2)
"""The baseline with a plan of two epochs: its rate is back at 0 where the baseline's is still high. Two points."""


@dataclass(frozen=True)
class Run:
    """One run and its curves, one number for each point.

    Attributes:
        trained: The model after the last update.
        curves: "running", the training loss averaged over the updates since the point before, with dropout, as a
            progress bar shows it; "train_loss" and "train_accuracy", measured anew at the point, without dropout, on
            MEASURED of its reviews with the labels it trains on; "val_loss", "val_accuracy", "val_macro_f1";
            "sure_when_wrong", the mean probability that wrong answers to validation reviews were given; "half_a" and
            "half_b", the accuracy on two halves of the validation reviews. Losses in nats per review.
    """

    trained: Trained
    curves: dict[str, list[float]]


def choose(variant: Variant, seed: int) -> list[Review]:
    """The reviews that a run trains on, in the file's order, with the labels it trains on.

    Args:
        variant: How many, and how many of them wrong.
        seed: Draws both.
    """
    everything = load_reviews("train")
    draw = random.Random(f"{seed} {variant.reviews} {variant.noise}")
    kept = sorted(draw.sample(range(len(everything)), variant.reviews))
    flipped = set(draw.sample(kept, round(variant.noise * len(kept))))
    return [replace(everything[i], label=1 - everything[i].label) if i in flipped else everything[i] for i in kept]


def train(variant: Variant, seed: int) -> Run:
    """Train a variant from scratch and measure it on the way.

    Args:
        variant: What to train.
        seed: Decides the starting weights, the dropout, the order of the reviews and which of them are drawn.

    Returns:
        The model and its curves.
    """
    reviews, settings = choose(variant, seed), variant.settings
    words = WordTokenizer.fit([review.text for review in reviews], size=settings.vocab_size)  # as train_encoder does

    def source(chosen: list[Review]) -> ReviewBatches:
        ids, labels = [words.encode(review.text) for review in chosen], [review.label for review in chosen]
        choice: dict[str, Any] = {"max_length": settings.max_length, "shuffle": False, "bucket": True}
        return ReviewBatches(ids, labels, batch_size=_EVAL_BATCH, **choice)

    training, validation = source(reviews[:MEASURED]), source(load_reviews("validation"))
    curves: dict[str, list[float]] = {}
    every = max(1, settings.epochs // POINTS)

    def watch(state: RunState) -> None:
        if state.step % (every * state.steps_per_epoch) == 0:
            seen, unseen = predict(state.model, training), predict(state.model, validation)
            for name, value in _point(seen, unseen).items():
                curves.setdefault(name, []).append(value)

    trained = train_encoder(reviews, seed=seed, settings=settings, on_step=watch)
    means = list(trained.record.epoch_means().values()) if trained.record else []
    running = [sum(means[i : i + every]) / every for i in range(0, len(means), every)]  # epochs have equal steps
    return Run(trained, {"running": running, **curves})


def _point(seen: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]) -> dict[str, float]:
    """What targets (N,) and logits (N, 2) of both sets say of the model."""
    (labels, logits), (val_labels, val_logits) = seen, unseen
    sure, answers = val_logits.softmax(dim=-1).max(dim=-1)  # (N,), (N,)
    wrong = answers != val_labels
    return {
        "train_loss": float(cross_entropy(logits, labels)),
        "train_accuracy": metrics.accuracy(labels, logits.argmax(dim=-1)),
        "val_loss": float(cross_entropy(val_logits, val_labels)),
        "val_accuracy": metrics.accuracy(val_labels, answers),
        "val_macro_f1": metrics.precision_recall_f1(val_labels, answers, average="macro").f1,
        "sure_when_wrong": float(sure[wrong].mean()) if wrong.any() else math.nan,
        # They come in order of length, so that every other one makes two halves of like reviews.
        "half_a": metrics.accuracy(val_labels[0::2], answers[0::2]),
        "half_b": metrics.accuracy(val_labels[1::2], answers[1::2]),
    }


def _recorded(variant: Variant) -> dict[str, Any]:
    runs = [train(variant, seed).curves for seed in SEEDS]
    curves = {name: [[float(f"{x:.4g}") for x in run[name]] for run in runs] for name in runs[0]}
    return {**asdict(variant), "curves": curves}


def main() -> None:
    """Train every variant with every seed, and write overfitting.json."""
    torch.set_num_threads(1)  # a model this small gains little from a second thread, and one repeats to the last digit
    recorded.save(
        "overfitting",
        {
            "seeds": list(SEEDS),
            "variants": {name: _recorded(variant) for name, variant in VARIANTS.items()},
            "short": _recorded(SHORT),
        },
    )


if __name__ == "__main__":
    main()
