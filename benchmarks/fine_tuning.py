"""Time MiniLM at batch 8 under Trainer and under the course's `fit`, with the same settings and with the fast ones.

    python benchmarks/fine_tuning.py
    python benchmarks/fine_tuning.py --rounds 5 --json fine_tuning.json
    python benchmarks/fine_tuning.py --rounds 0 --accuracy_epochs 2      (only the accuracies; minutes)

Targets, in reviews a second: `fit` at least 1.05 times Trainer with the same settings, and with length buckets, fused
AdamW and, where the processor has bf16 units, bf16 at least 3.5 times Trainer's defaults. The validation accuracy of
both stays within the other's interval.

"Same settings": fp32, reviews in random order padded to the longest of their batch, fused AdamW at 2e-5, linear decay,
clipping at 1.0, dropout on. Trainer's defaults are the same but for the rate, which costs no time, so one column
serves both comparisons. Each turn trains on the same number of reviews; the rounds take different reviews. What a
Trainer does once, before its first step, is inside its turn, as its user pays for it; `--steps` makes it small.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from side_by_side import arguments, met, show, summary, take_turns

from course_lib import metrics, optim, training
from course_lib.data import Review, ReviewBatches, load_reviews
from course_lib.finetuning import FineTuneConfig
from course_lib.finetuning.adapter import AsCourseModel
from course_lib.finetuning.classify import new_classifier, train_classifier
from course_lib.finetuning.predict import classifier_of
from course_lib.finetuning.texts import tokenize
from course_lib.hardware import detect
from course_lib.pretrained import Loaded
from course_lib.schedules import Linear

BATCH = 8
RATE = 2e-5
LENGTH = 256


def by_trainer(loaded: Loaded, reviews: Sequence[Review], epochs: int = 1, rate: float = RATE) -> None:
    """Train as Trainer's defaults do."""
    rows = tokenize(reviews, loaded.tokenizer, LENGTH)
    config = FineTuneConfig(
        epochs=epochs, batch_size=BATCH, learning_rate=rate, weight_decay=0.0, best_metric=None, log_every=500
    )
    train_classifier(loaded, rows, None, config, detect("cpu"))


def by_fit(
    loaded: Loaded, reviews: Sequence[Review], epochs: int = 1, rate: float = RATE, *, fast: bool = False
) -> None:
    """Train by the course's loop, with Trainer's settings or with everything that is quick."""
    ids = [row["input_ids"] for row in tokenize(reviews, loaded.tokenizer, LENGTH).rows]
    batches = ReviewBatches(ids, [review.label for review in reviews], batch_size=BATCH, bucket=fast)
    bf16 = fast and "bf16" in detect("cpu").precisions
    config = training.FitConfig(epochs=epochs, precision="bf16" if bf16 else "fp32", log_every=500)
    model = AsCourseModel(loaded.model)
    optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)
    schedule = Linear(total_steps=config.total_steps(len(batches)))
    training.fit(model, batches, optimizer, schedule, config, progress=False)


WAYS: dict[str, Callable[..., None]] = {
    "Trainer": by_trainer,
    "fit, same settings": by_fit,
    "fit, fast": lambda *given, **named: by_fit(*given, **named, fast=True),
}


class Turn:
    """Train on the next reviews by one way; the model goes on learning from turn to turn."""

    def __init__(self, way: Callable[..., None], steps: int) -> None:
        self.way, self.count, self.start = way, steps * BATCH, 0
        self.reviews = load_reviews("train")
        self.loaded = new_classifier("minilm")

    def __call__(self) -> None:
        """Take the turn."""
        rows = self.reviews[self.start : self.start + self.count]
        self.start = (self.start + self.count) % (len(self.reviews) - self.count)
        self.way(self.loaded, rows)


def accuracies(epochs: int) -> list[str]:
    """Train on all reviews by both ways, and measure on validation."""
    validation = load_reviews("validation")
    lines = []
    for name in ("Trainer", "fit, fast"):
        loaded = new_classifier("minilm")
        WAYS[name](loaded, load_reviews("train"), epochs, 1e-4)
        logits = classifier_of(loaded.model, loaded.tokenizer).logits([review.text for review in validation])
        right = [int(guess == review.label) for guess, review in zip(logits.argmax(-1), validation, strict=True)]
        low, high = metrics.wilson_interval(sum(right), len(right))
        lines.append(f"{name}: validation accuracy {fmean(right):.3f}, 95% interval {low:.3f} to {high:.3f}")
    return lines


def main() -> None:
    options = arguments(__doc__, rounds=5, steps=40, accuracy_epochs=0)
    rows, verdicts = {}, []
    if options.rounds:
        turns = {name: Turn(way, options.steps) for name, way in WAYS.items()}
        rows = summary(take_turns(turns, options.rounds), "Trainer")
        for row in rows.values():
            row["reviews a second"] = options.steps * BATCH / row["seconds"]
        units = "bf16" if "bf16" in detect("cpu").precisions else "fp32, since this processor has no bf16 units"
        for name, target in {"fit, same settings": 1.05, "fit, fast": 3.5}.items():
            ratio = 1 / rows[name]["ratio"]
            how = f" ({units})" if name == "fit, fast" else ""
            verdicts.append(f"{name}{how}: {ratio:.2f} times Trainer (target {target}: {met(ratio >= target)})")
    if options.accuracy_epochs:
        verdicts += accuracies(options.accuracy_epochs)
    show("fine-tuning MiniLM, batch 8", rows or {"-": {"seconds": math.nan}}, verdicts, options.json)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
