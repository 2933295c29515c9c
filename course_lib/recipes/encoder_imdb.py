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

from course_lib.data import Review, ReviewBatches
from course_lib.models import EncoderConfig, TransformerClassifier, count_parameters
from course_lib.recipes.from_scratch import carry_out
from course_lib.recipes.reviews import ReviewSettings, in_words, judge, load_part, load_parts
from course_lib.recipes.settings import RecipeError, check_choice
from course_lib.recipes.system import Recipe, System, Workload, save_parts
from course_lib.tokenization import WordTokenizer
from course_lib.training import evaluate, predict

EVAL_BATCH = 100
"""Reviews side by side where no gradient is kept; sorted by length, so little of it is padding."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(ReviewSettings):
    """Settings of the classifier and its batches.

    Args:
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
        check_choice("pad_side", self.pad_side, ("left", "right"))
        try:
            self.model_config()
        except ValueError as error:
            raise RecipeError(str(error)) from error

    def model_config(self) -> EncoderConfig:
        """The sizes of the model."""
        names = ("vocab_size", "max_length", "d_model", "n_heads", "n_layers", "d_ff", "dropout")
        return EncoderConfig(**{name: getattr(self, name) for name in names})


def build(settings: EncoderSettings, seed: int) -> System:
    """Load the reviews, fit the vocabulary on the training part alone, and make the model.

    Raises:
        DataError: The reviews cannot be read.
        RecipeError: The settings do not fit the data.
    """
    train, validation, test = load_parts(settings, seed)
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
        targets, logits = predict(model, held_out["test"])
        return judge(targets, logits.argmax(dim=-1), train)

    return System(
        model=model,
        train=batches(train, batch_size=settings.batch_size, shuffle=True),
        evaluate=lambda model: evaluate(model, held_out["validation"]),
        report=report,
        facts=(
            f"model: {count_parameters(model):,} parameters",
            f"train: {in_words(train)}",
            f"validation: {in_words(validation)}",
            f"test: {in_words(test)}",
            f"vocabulary: {tokenizer.vocab_size:,} words, from the training reviews alone",
        ),
        save=lambda folder: save_parts(folder, tokenizer, settings.model_config()),
    )


def workload(settings: EncoderSettings) -> Workload:
    """Count the tokens of a run: measured on Pocket Reviews, the full length for IMDB, whose reviews are long."""
    train, held_out, tokens = settings.train_limit, settings.validation_limit or 0, settings.max_length
    if settings.source == "pocket":
        reviews = load_part("train", train)
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
    carry_out=carry_out,
    variations={"sorted": {"order": "sorted_by_label"}},
)
