"""What a recipe builds: a model, its data, and how to judge it. The same form for classifiers and language models."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from course_lib.data import BatchSource
from course_lib.files import write_text
from course_lib.hardware import Hardware
from course_lib.models import TransformerConfig
from course_lib.recipes.settings import Settings
from course_lib.run_record import RunRecord
from course_lib.tokenization import CharTokenizer, WordTokenizer


@dataclass(frozen=True, kw_only=True)
class System:
    """Everything that one run needs apart from the loop.

    Args:
        model: Untrained, on the CPU.
        train: The training batches.
        evaluate: Validation figures of a model; chooses the best weights.
        report: Figures of a model for the end of the run, and what they say in words.
        save: Writes what must stand beside the weights to use them, tokenizer and sizes, into a folder.
        facts: Lines on the data and the model, for the start of the run.
        look: What the model produces now, to be compared before and after; "" if there is nothing to look at.
    """

    model: nn.Module
    train: BatchSource
    evaluate: Callable[[nn.Module], dict[str, float]]
    report: Callable[[nn.Module], tuple[dict[str, Any], list[str]]]
    save: Callable[[Path], None]
    facts: tuple[str, ...] = ()
    look: Callable[[], str] = lambda: ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much a run computes, known without fetching its data.

    Args:
        model: An untrained model of the run's size.
        tokens: Tokens in a typical sequence.
        train_sequences: Sequences that go forward and backward in the whole run.
        eval_sequences: Sequences that only go forward, over all evaluations.
        predicts_next: Whether a target belongs to each token (a language model) or to each sequence (a classifier).
    """

    model: nn.Module
    tokens: int
    train_sequences: int
    eval_sequences: int
    predicts_next: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        record: The record of the run.
        figures: Final figures.
        words: What they say, in sentences.
        finished: Whether the run went to its end; a stopped one can be resumed.
    """

    record: RunRecord
    figures: dict[str, Any]
    words: list[str]
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run that was asked for: what, how, with what, and whom to tell.

    Args:
        recipe: What to run.
        settings: How.
        hardware: What to compute with.
        out: Folder for the files of the run, which is this run's; None writes none.
        seed: Decides initial weights, order of the data and dropout.
        resume: Go on from the checkpoint in `out`.
        on_step: Called after each update; may raise StopTraining.
        progress: Whether to show a progress bar.
        tell: Takes each line for the person who waits.
        description: What another person needs to repeat the run.
    """

    recipe: "Recipe"
    settings: Any
    hardware: Hardware
    out: Path | None
    seed: int
    resume: bool
    on_step: Callable[[Any], None] | None
    progress: bool
    tell: Callable[[str], None]
    description: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One system of the source documents.

    Args:
        name: As typed on the command line.
        source: The source document it comes from.
        title: One line on what it trains.
        scales: "pocket" runs offline on a laptop; "full" is the document's run.
        carry_out: Runs it: `from_scratch.carry_out` by the course's loop, `fine_tuning.carry_out` by Trainer.
        workload: From settings to how much it computes.
        build: From settings and seed to the system; None where carry_out needs none.
        variations: Named changes of settings that the document tried.
        document_minutes: What the document's own machine took for its run; None where it does not say.
    """

    name: str
    source: str
    title: str
    scales: dict[str, Settings]
    carry_out: Callable[[Job], Outcome]
    workload: Callable[[Any], Workload]
    build: Callable[[Any, int], System] | None = None
    variations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    document_minutes: float | None = None


def save_parts(folder: Path, tokenizer: WordTokenizer | CharTokenizer, config: TransformerConfig) -> None:
    """Write tokenizer.json and model.json, which with model.safetensors are all that using the model needs."""
    tokenizer.save(folder / "tokenizer.json")
    write_text(folder / "model.json", json.dumps({"model": type(config).__name__, **asdict(config)}, indent=1) + "\n")
