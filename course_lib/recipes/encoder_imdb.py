"""Recipe `encoder-imdb`: the third source's transformer, trained from scratch to tell good reviews from bad ones.

Full scale is the document's run with its one mistake mended: the reviews are shuffled, so both classes are there.
`--set order=sorted_by_label` replays the mistake. Pocket scale trains the same model, with the same settings, on Pocket
Reviews; only its batches hold reviews of like length, which saves most of the padding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from course_lib import metrics
from course_lib.data import DataError, Review, ReviewBatches, label_counts, load_reviews
from course_lib.models import EncoderConfig, TransformerClassifier, count_parameters
from course_lib.recipes.settings import RecipeError, Settings, check_choice
from course_lib.recipes.system import Recipe, System, Workload, save_parts
from course_lib.tokenization import WordTokenizer
from course_lib.training import evaluate, predict

EVAL_BATCH = 100
"""Reviews side by side where no gradient is kept; sorted by length, so little of it is padding."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """Settings of the classifier and its data.

    Args:
        source: "pocket" or "imdb".
        order: "shuffled", or "sorted_by_label" to replay the accident.
        train_limit: Training reviews; None takes all that are not held out.
        validation_limit: Validation reviews. IMDB has no such part: they are the training reviews after train_limit.
        test_limit: Test reviews; None takes all.
        pad_side: "left" as in the document, or "right".
        buckets: Whether reviews of like length share a batch.
        vocab_size: Words with a vector of their own, the two special tokens included.
        max_length: Tokens of a review that are read; the rest is cut.
        d_model: Channels of a token vector.
        n_heads: Attention heads.
        n_layers: Blocks.
        d_ff: Hidden units of the feed-forward layers.
        dropout: Share of activations dropped in training.
    """

    source: str = "pocket"
    order: str = "shuffled"
    train_limit: int | None = 2500
    validation_limit: int | None = 500
    test_limit: int | None = 1000
    pad_side: str = "left"
    buckets: bool = True
    vocab_size: int = 10_000
    max_length: int = 256
    d_model: int = 256
    n_heads: int = 8
    n_layers: int = 4
    d_ff: int = 1024
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, ("pocket", "imdb"))
        check_choice("order", self.order, ("shuffled", "sorted_by_label"))
        check_choice("pad_side", self.pad_side, ("left", "right"))
        try:
            self.model_config()
        except ValueError as error:
            raise RecipeError(str(error)) from error

    def model_config(self) -> EncoderConfig:
        """The sizes of the model."""
        names = ("vocab_size", "max_length", "d_model", "n_heads", "n_layers", "d_ff", "dropout")
        return EncoderConfig(**{name: getattr(self, name) for name in names})


def _part(split: str, limit: int | None, **choice: Any) -> list[Review]:
    try:
        return load_reviews(split, limit=limit, **choice)  # type: ignore[arg-type]
    except DataError:
        raise
    except ValueError as error:  # more reviews asked for than there are
        raise RecipeError(f"{split}_limit: {error}") from error


def _load(settings: EncoderSettings, seed: int) -> tuple[list[Review], list[Review], list[Review]]:
    """The three parts. The seed decides the order of the training reviews and, for IMDB, which are held out."""
    choice: dict[str, Any] = {"source": settings.source, "order": settings.order, "seed": seed}
    test = _part("test", settings.test_limit, **choice)
    if settings.source == "pocket":
        train = _part("train", settings.train_limit, **choice)
        return train, _part("validation", settings.validation_limit, **choice), test
    if settings.validation_limit is None:
        raise RecipeError("validation_limit: expected a number, since IMDB has no validation part; got none")
    rows = _part("train", None, **choice)
    cut = len(rows) - settings.validation_limit if settings.train_limit is None else settings.train_limit
    if not 0 < cut <= len(rows) - settings.validation_limit:
        raise RecipeError(
            f"train_limit and validation_limit: expected at most {len(rows)} reviews together, "
            f"got {cut} and {settings.validation_limit}"
        )
    return rows[:cut], rows[cut : cut + settings.validation_limit], test


def build(settings: EncoderSettings, seed: int) -> System:
    """Load the reviews, fit the vocabulary on the training part alone, and make the model.

    Raises:
        DataError: The reviews cannot be read.
        RecipeError: The settings do not fit the data.
    """
    train, validation, test = _load(settings, seed)
    tokenizer = WordTokenizer.fit((review.text for review in train), size=settings.vocab_size)

    def batches(reviews: Sequence[Review], *, batch_size: int, shuffle: bool) -> ReviewBatches:
        return ReviewBatches(
            [tokenizer.encode(review.text) for review in reviews],
            [review.label for review in reviews],
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            bucket=settings.buckets or not shuffle,
            pad_side="left" if settings.pad_side == "left" else "right",
            max_length=settings.max_length,
        )

    held_out = {
        name: batches(part, batch_size=EVAL_BATCH, shuffle=False)
        for name, part in (("validation", validation), ("test", test))
    }
    model = TransformerClassifier(settings.model_config())

    def report(model: nn.Module) -> tuple[dict[str, Any], list[str]]:
        return _report(model, held_out["test"], train)

    return System(
        model=model,
        train=batches(train, batch_size=settings.batch_size, shuffle=True),
        evaluate=lambda model: evaluate(model, held_out["validation"]),
        report=report,
        facts=(
            f"model: {count_parameters(model):,} parameters",
            f"train: {_counts(train)}",
            f"validation: {_counts(validation)}",
            f"test: {_counts(test)}",
            f"vocabulary: {tokenizer.vocab_size:,} words, from the training reviews alone",
        ),
        save=lambda folder: save_parts(folder, tokenizer, settings.model_config()),
    )


def _counts(reviews: Sequence[Review]) -> str:
    counts = label_counts(reviews)
    text = f"{len(reviews):,} reviews, {counts.get(1, 0):,} positive and {counts.get(0, 0):,} negative"
    return text if len(counts) > 1 else f"{text}; one class only: whatever is measured on them says nothing"


def _report(model: nn.Module, test: ReviewBatches, train: Sequence[Review]) -> tuple[dict[str, Any], list[str]]:
    """Test figures, each beside what knowing nothing would get."""
    targets, logits = predict(model, test)
    guesses = logits.argmax(dim=-1)
    n, right = len(targets), int((guesses == targets).sum())
    low, high = metrics.wilson_interval(right, n)
    majority = metrics.majority_baseline(targets)
    scores = metrics.precision_recall_f1(targets, guesses, average="macro")
    figures = {
        "test_accuracy": right / n,
        "test_accuracy_interval": [low, high],
        "test_macro_f1": scores.f1,
        "majority_baseline": majority,
        "confusion_matrix": metrics.confusion_matrix(targets, guesses, n_classes=2).tolist(),
    }
    interval = f"95% interval {low:.3f} to {high:.3f}"
    words = [f"Test accuracy {right / n:.3f} ({right} of {n}), {interval}, macro F1 {scores.f1:.3f}."]
    if majority == 1.0 or len(label_counts(train)) < 2:
        words.append("One class only: a constant answer scores the same. This run shows nothing about the model.")
    elif low > majority:
        words.append(f"Better than always answering the commonest class ({majority:.3f}).")
    else:
        words.append(f"Cannot be told from always answering the commonest class ({majority:.3f}).")
    return figures, words


def workload(settings: EncoderSettings) -> Workload:
    """Count the tokens of a run: measured on Pocket Reviews, the full length for IMDB, whose reviews are long."""
    train, held_out, tokens = settings.train_limit, settings.validation_limit or 0, settings.max_length
    if settings.source == "pocket":
        reviews = _part("train", train)
        tokenizer = WordTokenizer.fit((review.text for review in reviews), size=settings.vocab_size)
        lengths = [min(len(tokenizer.encode(review.text)), settings.max_length) for review in reviews]
        tokens = round(sum(lengths) / len(lengths)) if settings.buckets else max(lengths)
    steps, evaluations = settings.steps_and_evaluations(math.ceil((train or 25_000) / settings.batch_size))
    return Workload(
        model=TransformerClassifier(settings.model_config()),
        tokens=tokens,
        train_sequences=steps * settings.batch_size * settings.accumulation,
        eval_sequences=evaluations * held_out + (settings.test_limit or 0),
        predicts_next=False,
    )


RECIPE = Recipe(
    name="encoder-imdb",
    source="transformer-imdb-results",
    title="a transformer from scratch that tells good reviews from bad",
    scales={
        "pocket": EncoderSettings(epochs=5, batch_size=32, optimizer="adam", learning_rate=1e-4),
        "full": EncoderSettings(
            source="imdb",
            train_limit=5000,
            validation_limit=1000,
            epochs=5,
            batch_size=32,
            optimizer="adam",
            learning_rate=1e-4,
            buckets=False,
        ),
    },
    build=build,
    workload=workload,
)
