"""The same small runs at many learning rates: what chapter 09 and its `LearningRateExplorer` show.

A `Subject` is everything about a run but its rate and its seed; `build` makes its model and its data, and `train` the
run. The rate is constant and nothing
is clipped, so that what you see is the rate's own doing. `python -m course_lib.recorded.rate_sweep` trains all of them
(about twenty minutes on one core) and writes `rate_sweep.json`; the widget's "Train now" calls the same `train`.

The held-out figure of a subject is measured on text that no run trains on, and the same for every run. Each version of
Python carries its own edition of the manual, so runs on characters compare only where `edition` is the recorded one.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn

from course_lib import optim, recorded
from course_lib.data import BatchSource, ReviewBatches, TextBlocks, load_reviews, load_text, split_text
from course_lib.models import EncoderConfig, LMConfig, TransformerClassifier, TransformerLM
from course_lib.schedules import Constant
from course_lib.tokenization import CharTokenizer, WordTokenizer
from course_lib.training import DivergenceError, FitConfig, RunState, evaluate, fit

CONTEXT = 32  # characters that the language model sees, and words that the classifier reads of a review
WORDS = 4000
HELD_OUT_CHARACTERS = 16_000
RATES = tuple(10 ** (quarter / 4) for quarter in range(-20, 5))
"""25 rates, four to a factor of ten, from 1e-5 to 10."""
SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Everything about a run but its rate and its seed.

    Args:
        title: What a reader is told.
        data: "characters" of the Python manual, "letters" of the film reviews' texts, or "reviews" to classify.
        optimizer: "AdamW", or "Momentum" for SGD with momentum 0.9.
        d_model: Channels; the feed-forward layers are four times as wide.
        n_layers: Blocks.
        batch_size: Blocks of 32 characters, or reviews.
        steps: Updates.
        log_every: Updates that are averaged into one point of the curve.
    """

    title: str
    data: Literal["characters", "letters", "reviews"]
    optimizer: Literal["AdamW", "Momentum"] = "AdamW"
    d_model: int = 64
    n_layers: int = 2
    batch_size: int = 16
    steps: int = 150
    log_every: int = 5


SUBJECTS = {
    "characters": Subject(title="Character model, AdamW", data="characters"),
    "reviews": Subject(title="Review classifier, AdamW", data="reviews", d_model=32, n_layers=1, batch_size=32),
    "momentum": Subject(title="Character model, SGD with momentum", data="characters", optimizer="Momentum"),
}
"""The runs of the widget: every one of RATES, every one of SEEDS."""

VARIANT_RATES = tuple(10 ** (quarter / 4) for quarter in range(-16, -3))
"""13 rates from 1e-4 to 0.1 for the question where the best rate moves."""
VARIANTS = {
    **{f"width {d}": replace(SUBJECTS["characters"], title=f"width {d}", d_model=d) for d in (16, 64, 256)},
    **{f"batch {b}": replace(SUBJECTS["characters"], title=f"batch {b}", batch_size=b) for b in (4, 16, 64)},
}


@dataclass(frozen=True)
class Run:
    """What one run left.

    Attributes:
        losses: Mean training loss of each `log_every` updates, in nats; shorter than planned when it diverged.
        held_out: Loss on held-out text after the last update, in nats; None when the loss stopped being a number.
    """

    losses: list[float]
    held_out: float | None


def train(subject: Subject, rate: float, seed: int, on_step: Callable[[RunState], None] | None = None) -> Run:
    """Train a subject from scratch at one constant rate.

    Args:
        subject: What to train.
        rate: Learning rate, above 0.
        seed: Decides the starting weights and the order of the data.
        on_step: Called after each update; may raise StopTraining.

    Raises:
        ValueError: The rate is not a positive number.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"rate: expected a number above 0, got {rate!r}")
    model, batches, held_out = build(subject, seed)
    optimizer = getattr(optim, subject.optimizer)(model.parameters(), lr=rate)
    config = FitConfig(
        epochs=subject.steps,  # never reached: an epoch has more than one step
        max_steps=subject.steps,
        clip_norm=None,
        log_every=subject.log_every,
        eval_every=subject.steps,
        restore_best=False,
        seed=seed,
    )
    seen: list[RunState] = []

    def watch(state: RunState) -> None:
        seen[:] = [state]
        if on_step is not None:
            on_step(state)

    try:
        record = fit(
            model,
            batches,
            optimizer,
            Constant(),
            config,
            evaluate=lambda model: evaluate(model, held_out),
            on_step=watch,
            progress=False,
        )
    except DivergenceError:
        return Run(losses=seen[0].record["train_loss"] if seen else [], held_out=None)
    figures = record.evaluated()
    finite = bool(figures) and math.isfinite(figures[-1][1])
    return Run(losses=record["train_loss"], held_out=figures[-1][1] if finite else None)


def baseline(subject: Subject) -> float:
    """The loss of a model that knows nothing, in nats: ln V for an alphabet of V, ln 2 for classifying reviews."""
    return math.log(2) if subject.data == "reviews" else math.log(_text(subject.data)[0].vocab_size)


def edition() -> str:
    """A mark of the manual that this Python carries; the recording keeps the one that its character runs read."""
    return hashlib.sha256(load_text().encode()).hexdigest()[:16]


def build(subject: Subject, seed: int) -> tuple[nn.Module, BatchSource, BatchSource]:
    """Make what a run starts from; torch's own generator is left as it was.

    Args:
        subject: What to make.
        seed: Decides the starting weights and the order of the data.

    Returns:
        The model, the batches to train on, and those of the held-out text or reviews.
    """
    with torch.random.fork_rng(devices=[]):  # a run draws nothing more: there is no dropout
        torch.default_generator.manual_seed(seed)  # the CPU's alone: fork_rng puts no other one back
        return _classifier(subject, seed) if subject.data == "reviews" else _language_model(subject, seed)


def _sizes(subject: Subject) -> dict[str, Any]:
    width = {"d_model": subject.d_model, "d_ff": 4 * subject.d_model}
    return {"max_length": CONTEXT, "n_heads": 4, "n_layers": subject.n_layers, **width}


def _language_model(subject: Subject, seed: int) -> tuple[nn.Module, BatchSource, BatchSource]:
    tokenizer, ids, held_out_ids = _text(subject.data)
    model = TransformerLM(LMConfig(vocab_size=tokenizer.vocab_size, style="modern", **_sizes(subject)))
    blocks = TextBlocks(ids, block_size=CONTEXT, batch_size=subject.batch_size, seed=seed)
    return model, blocks, TextBlocks(held_out_ids, block_size=CONTEXT, batch_size=128, shuffle=False)


def _classifier(subject: Subject, seed: int) -> tuple[nn.Module, BatchSource, BatchSource]:
    words, train_set, validation_set = _reviews()
    model = TransformerClassifier(EncoderConfig(vocab_size=words.vocab_size, dropout=0.0, **_sizes(subject)))
    reviews = ReviewBatches(*train_set, batch_size=subject.batch_size, seed=seed, bucket=True, max_length=CONTEXT)
    return model, reviews, ReviewBatches(*validation_set, batch_size=128, shuffle=False, max_length=CONTEXT)


@lru_cache(maxsize=2)
def _text(data: str) -> tuple[CharTokenizer, torch.Tensor, torch.Tensor]:
    if data == "characters":
        training, held_out = split_text(load_text(), 0.1)
    else:
        splits = (load_reviews("train"), load_reviews("validation"))
        training, held_out = ("\n".join(review.text for review in reviews) for reviews in splits)
    tokenizer = CharTokenizer.fit(training + held_out)
    ids, held_out_ids = tokenizer.encode(training), tokenizer.encode(held_out[:HELD_OUT_CHARACTERS])
    return tokenizer, torch.tensor(ids), torch.tensor(held_out_ids)


@lru_cache(maxsize=1)
def _reviews() -> tuple[WordTokenizer, tuple[list[list[int]], list[int]], tuple[list[list[int]], list[int]]]:
    training, validation = load_reviews("train"), load_reviews("validation")
    words = WordTokenizer.fit([review.text for review in training], size=WORDS)

    def encoded(reviews: list[Any]) -> tuple[list[list[int]], list[int]]:
        return [words.encode(review.text) for review in reviews], [review.label for review in reviews]

    return words, encoded(training), encoded(validation)


def _short(number: float | None) -> float | None:
    """Four digits are more than a screen shows; what is no number any more is null."""
    return None if number is None or not math.isfinite(number) else float(f"{number:.4g}")


def _sweep(subject: Subject, rates: tuple[float, ...], *, curves: bool) -> dict[str, Any]:
    runs = [[train(subject, rate, seed) for seed in SEEDS] for rate in rates]
    content: dict[str, Any] = {
        **asdict(subject),
        "baseline": _short(baseline(subject)),
        "rates": [_short(rate) for rate in rates],
        "seeds": list(SEEDS),
        "held_out": [[_short(run.held_out) for run in at_rate] for at_rate in runs],
    }
    if curves:
        content["losses"] = [[[_short(loss) for loss in run.losses] for run in at_rate] for at_rate in runs]
    return content


def main() -> None:
    """Train every subject and variant at every rate, and write rate_sweep.json."""
    torch.set_num_threads(1)  # models this small gain nothing from a second thread, and one repeats to the last digit
    recorded.save(
        "rate_sweep",
        {
            "edition": edition(),
            "subjects": {name: _sweep(subject, RATES, curves=True) for name, subject in SUBJECTS.items()},
            "variants": {name: _sweep(subject, VARIANT_RATES, curves=False) for name, subject in VARIANTS.items()},
        },
    )


if __name__ == "__main__":
    main()
