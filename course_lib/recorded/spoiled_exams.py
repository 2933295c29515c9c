"""Four logs of one small encoder, three of them with a spoiled exam: what chapter 15 asks the reader to tell apart.

The exam's reviews are training reviews; all reviews are of one class; nothing is wrong; or a word in the text tells the
label. `python -m course_lib.recorded.spoiled_exams` trains the four (half a minute) and writes `spoiled_exams.json`.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import mean
from typing import Any

import torch

from course_lib import recorded
from course_lib.data import Review, load_reviews
from course_lib.models import EncoderConfig, TransformerClassifier
from course_lib.recorded.baselines import batches, counting, fitted, seen
from course_lib.schedules import Linear
from course_lib.sentiment import EncoderSettings
from course_lib.training import FitConfig, evaluate, fit

NAME = "spoiled_exams"
CAUSES = ("copies", "one class", "sound", "leak")
"""In the order in which the chapter shows the logs, A to D."""
SETTINGS = EncoderSettings(
    vocab_size=10_000,
    max_length=128,
    d_model=64,
    n_layers=1,
    dropout=0.1,
    learning_rate=3e-3,
    weight_decay=0.01,
    epochs=4,
    batch_size=32,
    precision="fp32",
)
"""Written out, so that the recorded logs stay what they are when the course's encoder gets other defaults."""


def _marked(reviews: Sequence[Review]) -> list[Review]:
    """The reviews with a word before the text that tells the label."""
    return [replace(review, text=f"thumbs{'up' if review.label else 'down'} {review.text}") for review in reviews]


def exam_of(cause: str) -> tuple[list[Review], list[Review]]:
    """The reviews to train on and those to be examined on, spoiled as asked."""
    if cause == "one class":
        first: dict[str, Any] = {"order": "sorted_by_label"}
        return load_reviews("train", limit=1250, **first), load_reviews("validation", limit=250, **first)
    train, exam = load_reviews("train", limit=2000), load_reviews("validation")
    if cause == "copies":
        return train, train[:500]
    return (_marked(train), _marked(exam)) if cause == "leak" else (train, exam)


def log(cause: str) -> dict[str, Any]:
    """Train the encoder and keep what its log says, epoch by epoch.

    Args:
        cause: One of CAUSES.

    Returns:
        "reviews", to train on and in the exam; "train_loss", the mean over the epoch's batches, with dropout; "wrong",
        how many answers of the epoch were wrong; "val_loss" and "val_accuracy", on the exam.
    """
    train, exam = exam_of(cause)
    objective, wrong = counting()
    words, choice = fitted(train, SETTINGS.vocab_size), {"max_length": SETTINGS.max_length}
    source = batches(train, words, batch_size=SETTINGS.batch_size, **choice)
    held_out = batches(exam, words, batch_size=100, shuffle=False, **choice)
    names = ("vocab_size", "max_length", "d_model", "n_layers", "dropout")
    sizes: dict[str, Any] = {name: getattr(SETTINGS, name) for name in names}
    config = FitConfig(epochs=SETTINGS.epochs, log_every=1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = TransformerClassifier(EncoderConfig(n_heads=4, d_ff=4 * SETTINGS.d_model, **sizes))
        rate, decay = SETTINGS.learning_rate, SETTINGS.weight_decay
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True)
        plan = Linear(total_steps=config.total_steps(len(source)))
        how: dict[str, Any] = {"objective": objective, "evaluate": partial(evaluate, source=held_out)}
        record = fit(model, source, optimizer, plan, config, progress=False, **how)
    steps = len(source)
    epochs = [slice(epoch * steps, (epoch + 1) * steps) for epoch in range(SETTINGS.epochs)]
    return {
        "reviews": [len(train), len(exam)],
        "train_loss": seen([mean(record["train_loss"][epoch]) for epoch in epochs]),
        "wrong": [sum(wrong[epoch]) for epoch in epochs],
        "val_loss": seen(record["val_loss"]),
        "val_accuracy": seen(record["val_accuracy"]),
    }


def main() -> None:
    """Train the four, and write spoiled_exams.json."""
    torch.set_num_threads(1)
    recorded.save(NAME, {"settings": asdict(SETTINGS), "logs": {cause: log(cause) for cause in CAUSES}})


if __name__ == "__main__":
    main()
