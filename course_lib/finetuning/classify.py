"""`fine_tune_classifier`: a pretrained encoder learns to tell labels apart, by Trainer (chapter 16).

Source: Devlin et al., "BERT" (2019), section 4: a new head on the body, and all of it trained at a small rate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.data import DataError, Review
from course_lib.finetuning.adapter import group_loss
from course_lib.finetuning.config import FineTuneConfig
from course_lib.finetuning.run import FineTuned, Watching, run_trainer
from course_lib.finetuning.scores import check_best_metric, classification_scores, example_scores
from course_lib.finetuning.texts import Tokenized, check_classes, check_texts, tokenize
from course_lib.hardware import Hardware, detect
from course_lib.pretrained import Loaded, load_classifier, resize_body

NAMES = {0: "negative", 1: "positive"}
"""What the labels of reviews are called; it goes into the configuration of the model that is saved."""


def fine_tune_classifier(
    train: Sequence[Review],
    validation: Sequence[Review] | None = None,
    *,
    checkpoint: str | Path = "minilm",
    config: FineTuneConfig | None = None,
    n_labels: int = 2,
    layers: int | None = None,
    hardware: Hardware | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    allow_single_class: bool = False,
    watching: Watching | None = None,
    run: dict[str, Any] | None = None,
) -> FineTuned:
    """Fine-tune a pretrained encoder on labeled texts.

    Args:
        train: what to learn from.
        validation: measured as the config says; None measures nothing.
        checkpoint: a short name of `pretrained.CHECKPOINTS`, or a folder.
        config: None is `FineTuneConfig()`.
        n_labels: how many labels there are.
        layers: how many layers the body shall have; None leaves it as it is.
        hardware: None is what `hardware.detect()` finds.
        out: folder for record, checkpoints and model; None writes nothing, and the model ends with its last weights.
        resume: go on from the newest whole checkpoint in `out`.
        allow_single_class: whether training texts of one label are let through.
        watching: who is told what while it runs.
        run: what else the record should say.

    Raises:
        DataError: a text is empty, a label out of range, or there is one class only.
        ValueError: no evaluation gives the best_metric, or there is a patience and no validation.
        PretrainedError: the checkpoint is missing, damaged or made for other labels.
        CheckpointError, OutputError, DivergenceError: as `run_trainer`.
    """
    chosen = config or FineTuneConfig()
    check_best_metric(chosen.best_metric, example_scores(n_labels))
    check_texts("training", train, n_labels)
    check_classes(train, allow_single_class=allow_single_class)
    if validation is not None:
        check_texts("validation", validation, n_labels)
    loaded = new_classifier(checkpoint, n_labels=n_labels, layers=layers, seed=chosen.seed)
    length = readable_length(loaded, chosen.max_length)
    return train_classifier(
        loaded,
        tokenize(train, loaded.tokenizer, length),
        None if validation is None else tokenize(validation, loaded.tokenizer, length),
        chosen,
        hardware or detect(),
        out=out,
        resume=resume,
        watching=watching,
        run={"checkpoint": str(checkpoint), "layers": layers, "reviews": len(train), **(run or {})},
    )


def new_classifier(checkpoint: str | Path, *, n_labels: int = 2, layers: int | None = None, seed: int = 0) -> Loaded:
    """Load a checkpoint with a head for these labels; see `pretrained.load_classifier` and `resize_body`."""
    loaded = load_classifier(checkpoint, n_labels, seed=seed)
    if layers is not None:
        resize_body(loaded.model, layers)
    if n_labels == len(NAMES):
        loaded.model.config.id2label = NAMES
        loaded.model.config.label2id = {name: label for label, name in NAMES.items()}
    return loaded


def readable_length(loaded: Loaded, max_length: int) -> int:
    """The limit on a text's tokens, if the model has as many positions.

    Raises:
        DataError: it has not.
    """
    positions = loaded.model.config.max_position_embeddings
    if max_length > positions:
        raise DataError(f"max_length: expected at most {positions}, the positions that the model has; got {max_length}")
    return max_length


def train_classifier(
    loaded: Loaded,
    train: Tokenized,
    validation: Tokenized | None,
    config: FineTuneConfig,
    hardware: Hardware,
    **choice: Any,
) -> FineTuned:
    """Train a loaded classifier on tokenized texts; the last of the five phases.

    Args:
        loaded: from `new_classifier`.
        train: what to learn from.
        validation: None measures nothing.
        config: what the run is told.
        hardware: what it computes with.
        choice: out, resume, watching and run, as `run_trainer` takes them.

    Raises:
        ValueError: no evaluation gives the best_metric.
    """
    from transformers import DataCollatorWithPadding

    check_best_metric(config.best_metric, example_scores(loaded.model.config.num_labels))
    loaded.tokenizer.model_max_length = config.max_length  # so that whoever loads the model cuts where it was cut here
    return run_trainer(
        loaded,
        train.rows,
        None if validation is None else validation.rows,
        config,
        hardware,
        collate=DataCollatorWithPadding(loaded.tokenizer),
        scores=classification_scores,
        loss=group_loss,
        **choice,
    )
