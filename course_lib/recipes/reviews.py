"""What the recipes that judge reviews share: the three parts, what is in them, and the verdict at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from course_lib import metrics
from course_lib.data import DataError, Review, label_counts, load_reviews
from course_lib.recipes.settings import RecipeError, Settings, check_choice


@dataclass(frozen=True, kw_only=True)
class ReviewSettings(Settings):
    """Settings of every recipe that learns from reviews: which ones it gets.

    Args:
        source: "pocket" or "imdb".
        order: "shuffled", or "sorted_by_label" to replay the accident of the third source.
        train_limit: Training reviews; None takes all that are not held out.
        validation_limit: Reviews that are measured on the way and choose the best weights. IMDB has no such part: they
            are the training reviews after train_limit.
        test_limit: Reviews that judge once, at the end; None takes all.
    """

    source: str = "pocket"
    order: str = "shuffled"
    train_limit: int | None = 2500
    validation_limit: int | None = 500
    test_limit: int | None = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, ("pocket", "imdb"))
        check_choice("order", self.order, ("shuffled", "sorted_by_label"))


def load_part(split: str, limit: int | None, **choice: Any) -> list[Review]:
    """Load one split.

    Raises:
        DataError: The reviews cannot be read.
        RecipeError: More are asked for than there are.
    """
    try:
        return load_reviews(split, limit=limit, **choice)  # type: ignore[arg-type]
    except DataError:
        raise
    except ValueError as error:  # more reviews asked for than there are
        raise RecipeError(f"{split}_limit: {error}") from error


def load_parts(settings: ReviewSettings, seed: int) -> tuple[list[Review], list[Review], list[Review]]:
    """Load training, validation and test reviews.

    The seed decides the order of the training reviews and, for IMDB, which are held out: its validation reviews are
    the training reviews after train_limit.

    Raises:
        DataError: The reviews cannot be read.
        RecipeError: More are asked for than there are.
    """
    choice: dict[str, Any] = {"source": settings.source, "order": settings.order, "seed": seed}
    test = load_part("test", settings.test_limit, **choice)
    if settings.source == "pocket":
        train = load_part("train", settings.train_limit, **choice)
        return train, load_part("validation", settings.validation_limit, **choice), test
    if settings.validation_limit is None:
        raise RecipeError("validation_limit: expected a number, since IMDB has no validation part; got none")
    rows = load_part("train", None, **choice)
    cut = len(rows) - settings.validation_limit if settings.train_limit is None else settings.train_limit
    if not 0 < cut <= len(rows) - settings.validation_limit:
        raise RecipeError(
            f"train_limit and validation_limit: expected at most {len(rows)} reviews together, "
            f"got {cut} and {settings.validation_limit}"
        )
    return rows[:cut], rows[cut : cut + settings.validation_limit], test


def in_words(reviews: Sequence[Review]) -> str:
    """How many reviews there are, of each label; a part of one class is called out."""
    counts = label_counts(reviews)
    text = f"{len(reviews):,} reviews, {counts.get(1, 0):,} positive and {counts.get(0, 0):,} negative"
    return text if len(counts) > 1 else f"{text}; one class only: whatever is measured on them says nothing"


def judge(targets: Tensor, guesses: Tensor, train: Sequence[Review]) -> tuple[dict[str, Any], list[str]]:
    """Test figures, each beside what knowing nothing would get, and what they say.

    Args:
        targets: True labels of N test reviews, (N,).
        guesses: Predicted labels, (N,).
        train: What the model learned from.
    """
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
