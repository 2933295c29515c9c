"""What a recipe that fine-tunes can be told, and what follows from it before anything runs: steps, disk, and size."""

import math
from dataclasses import dataclass
from typing import Any

from course_lib.finetuning import FineTuneConfig
from course_lib.finetuning.adapter import AsCourseModel
from course_lib.finetuning.scores import check_best_metric, example_scores
from course_lib.finetuning.texts import tokenize
from course_lib.pretrained import checkpoint_folder, load_tokenizer
from course_lib.recipes.reviews import ReviewSettings, load_part
from course_lib.recipes.settings import RecipeError, check_choice
from course_lib.recipes.system import Workload

LABELS = 2
IMDB_TOKENS = 256
"""What a review of IMDB comes to after the cut: most are longer."""


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings(ReviewSettings):
    """Settings of a fine-tuning.

    Args:
        checkpoint: "minilm", "distilbert-base-uncased", "bert-base-uncased", or a folder.
        layers: How many layers the body shall have; None leaves it as it is.
        max_length: Tokens of a review that are read; the rest is cut.
        eval_batch_size: Reviews side by side where no gradient is kept.
        group_by_length: Whether reviews of like length share a batch.
        freeze_body: Train the new head alone.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        save_every: Updates between checkpoints; None saves at each evaluation.
        keep_checkpoints: How many stay on disk; None keeps all.
        best_metric: The validation figure that chooses the weights; None keeps the last ones.
        allow_single_class: Whether training reviews of one label are let through.
    """

    checkpoint: str = "minilm"
    layers: int | None = None
    max_length: int = 256
    eval_batch_size: int = 16
    group_by_length: bool = False
    freeze_body: bool = False
    gradient_checkpointing: bool = False
    save_every: int | None = None
    keep_checkpoints: int | None = 2
    best_metric: str | None = None
    allow_single_class: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("optimizer", self.optimizer, ("adamw",))
        if self.floor:
            raise RecipeError(f"floor: expected 0, where Trainer's schedules end; got {self.floor}")
        try:
            self.config(seed=0)
            check_best_metric(self.best_metric, example_scores(LABELS))
        except ValueError as error:
            raise RecipeError(str(error)) from error

    def config(self, seed: int) -> FineTuneConfig:
        """What Trainer is told."""
        shared = FineTuneConfig.__dataclass_fields__.keys() & self.__dataclass_fields__.keys()
        return FineTuneConfig(**{name: getattr(self, name) for name in shared}, seed=seed)


def checkpoints_on_disk(config: FineTuneConfig, steps: int, an_epoch: int) -> int:
    """How many checkpoints lie side by side at most; for a moment one more than are kept."""
    saved = math.ceil(steps / (config.save_every or config.eval_every or an_epoch))
    return saved if config.keep_checkpoints is None else min(saved, config.keep_checkpoints + 1)


def workload(settings: FineTuneSettings) -> Workload:
    """Count the tokens of a run, and make a model of its size with random weights, for which nothing is fetched."""
    train, held_out = settings.train_limit or 25_000, settings.validation_limit or 0
    tokens = min(IMDB_TOKENS, settings.max_length)
    if settings.source == "pocket":
        reviews = load_part("train", settings.train_limit)
        lengths = tokenize(reviews, load_tokenizer("minilm"), settings.max_length).lengths
        spread = 1.0 if settings.group_by_length else 2.0  # a batch is as long as its longest review
        tokens = round(spread * sum(lengths) / len(lengths))
    _, steps = settings.config(seed=0).plan(train)
    return Workload(
        model=AsCourseModel(_of_that_size(settings)),
        tokens=tokens,
        train_sequences=steps * settings.batch_size * settings.accumulation,
        eval_sequences=settings.epochs * held_out + (settings.test_limit or 0),
        predicts_next=False,
    )


def _of_that_size(settings: FineTuneSettings) -> Any:
    """A classifier of the checkpoint's shape; DistilBERT's and BERT's are the defaults of transformers."""
    from transformers import (
        AutoConfig,
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
    )

    if settings.checkpoint == "distilbert-base-uncased":
        return DistilBertForSequenceClassification(DistilBertConfig(n_layers=settings.layers or 6))
    if settings.checkpoint != "minilm":  # a folder's own size is not worth a look for a forecast before the run
        return BertForSequenceClassification(BertConfig(num_hidden_layers=settings.layers or 12))
    config = AutoConfig.from_pretrained(checkpoint_folder(settings.checkpoint), local_files_only=True)
    config.num_hidden_layers = settings.layers or config.num_hidden_layers
    return BertForSequenceClassification(config)
