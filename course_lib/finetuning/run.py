"""One run of Trainer, from a loaded model to a folder that can be used: for classifiers and language models alike."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback

from course_lib.checkpoints import generators_kept
from course_lib.files import writable_folder
from course_lib.finetuning.callbacks import RecordCallback, StopCallback
from course_lib.finetuning.config import FineTuneConfig, training_arguments
from course_lib.finetuning.forecast import Forecast, ForecastCallback
from course_lib.finetuning.trainer import CourseTrainer, GoOnCallback, newest_checkpoint, save_model
from course_lib.hardware import Hardware, peak_memory
from course_lib.pretrained import Loaded
from course_lib.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Watching:
    """Who is told what while a run goes on.

    Args:
        on_step: called after each update with the number of updates; may raise `training.StopTraining`, which saves a
            checkpoint and ends the run.
        on_forecast: called once, after the first updates.
        bar: whether Trainer shows its progress bar and log lines.
    """

    on_step: Callable[[int], None] | None = None
    on_forecast: Callable[[Forecast], None] | None = None
    bar: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned:
    """What a fine-tuning run came to.

    Attributes:
        model: on the CPU, in evaluation mode, with the best weights if a best_metric chose some, else the last.
        tokenizer: what it reads with.
        record: the run's curves, as `training.fit` keeps them.
        log: Trainer's own lines, as trainer_state.json has them.
        figures: validation figures of the weights the model ended with, by Trainer's names; empty without validation.
        finished: whether the run went to its end; a stopped one can be resumed.
        forecast: what was expected after the first updates; None when the run was too short to tell.
        seconds: what training took, evaluations and checkpoints included, in this sitting.
        peak_memory_bytes: the most memory held.
    """

    model: Any
    tokenizer: Any
    record: RunRecord
    log: list[dict[str, Any]]
    figures: dict[str, Any]
    finished: bool
    forecast: Forecast | None
    seconds: float
    peak_memory_bytes: int


def run_trainer(
    loaded: Loaded,
    train: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]] | None,
    config: FineTuneConfig,
    hardware: Hardware,
    *,
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
    out: Path | str | None = None,
    resume: bool = False,
    watching: Watching | None = None,
    run: dict[str, Any] | None = None,
    scores: Callable[[Any], dict[str, Any]] | None = None,
    loss: Callable[..., Any] | None = None,
    reduce_logits: Callable[[Any, Any], Any] | None = None,
) -> FineTuned:
    """Train a loaded model by Trainer, keep its record, and write what using it needs.

    Args:
        loaded: model and tokenizer; the model is trained in place.
        train: rows with input_ids and labels.
        validation: rows of the same form; None measures nothing.
        config: what the run is told.
        hardware: what it computes with.
        collate: makes a batch of rows.
        out: folder for record, checkpoints and model; None writes nothing.
        resume: go on from the newest whole checkpoint in `out`.
        watching: who is told what.
        run: what else the record should say.
        scores: Trainer's compute_metrics.
        loss: Trainer's compute_loss_func; None is the model's own loss.
        reduce_logits: Trainer's preprocess_logits_for_metrics; None keeps all logits of an evaluation.

    Raises:
        ValueError: there is a patience and no validation.
        CheckpointError: `resume` found no whole checkpoint.
        OutputError: `out` cannot be written, or the disk is full.
        DivergenceError: the loss became NaN or infinite.
    """
    if config.patience is not None and not validation:
        raise ValueError("patience: expected validation data, on which to see that nothing improves; got none")
    if config.max_steps:
        config = replace(config, max_steps=config.plan(len(train))[1])  # Trainer would go into epochs beyond the last
    folder = None if out is None else writable_folder(out)
    watch = watching or Watching()
    record = RunRecord({**(run or {}), "finetuning": asdict(config), "ended": "still running"})
    if config.freeze_body:
        loaded.model.base_model.requires_grad_(False)
    # A validation set in order of length needs less padding; its figures do not depend on the order.
    rows = None if validation is None else sorted(validation, key=lambda row: -len(row["input_ids"]))
    arguments = training_arguments(config, hardware, folder, evaluates=bool(rows), bar=watch.bar)
    with generators_kept(), tempfile.TemporaryDirectory() as nowhere:
        if folder is None:
            arguments.output_dir = nowhere  # Trainer makes its folder even if it saves nothing
        trainer = CourseTrainer(
            model=loaded.model,
            args=arguments,
            train_dataset=list(train),
            eval_dataset=rows,
            data_collator=collate,
            processing_class=loaded.tokenizer,
            compute_metrics=scores,
            compute_loss_func=loss,
            preprocess_logits_for_metrics=reduce_logits,
        )
        stop, forecast = _hang_on(trainer, train, rows, record, folder, config, watch)
        checkpoint = str(newest_checkpoint(folder)) if resume and folder else None
        with _recording(record, folder):
            trainer.train(resume_from_checkpoint=checkpoint)
            record.run["ended"] = _ending(trainer, stop)
            record.run["best_step"] = trainer.state.best_global_step
            record.run["best"] = trainer.state.best_metric
            record.run["trainer"] = trainer.state.log_history[-1]  # its summary of the run
            record.run["peak_memory_bytes"] = peak_memory(hardware.device)
            if said := forecast.forecast:
                record.run |= {"forecast_seconds": round(said.seconds, 1), "forecast_memory_bytes": said.memory_bytes}
    finished = stop is None or stop.reason is None
    model = loaded.model.to("cpu").eval()
    if folder and finished:
        save_model(model, loaded.tokenizer, folder)
    return FineTuned(
        model=model,
        tokenizer=loaded.tokenizer,
        record=record,
        log=trainer.state.log_history,
        figures=_figures(trainer),
        finished=finished,
        forecast=forecast.forecast,
        seconds=record.run["seconds"],
        peak_memory_bytes=record.run["peak_memory_bytes"],
    )


def _hang_on(
    trainer: CourseTrainer,
    train: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]] | None,
    record: RunRecord,
    folder: Path | None,
    config: FineTuneConfig,
    watch: Watching,
) -> tuple[StopCallback | None, ForecastCallback]:
    """Give the trainer its callbacks."""
    if not watch.bar:
        trainer.remove_callback(PrinterCallback)
    trainer.add_callback(RecordCallback(record, folder))
    forecast = ForecastCallback(
        trainer,
        watch.on_forecast or (lambda forecast: None),
        [len(row["input_ids"]) for row in train],
        [len(row["input_ids"]) for row in validation or ()],
        folder,
    )
    trainer.add_callback(forecast)
    if config.patience is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    trainer.add_callback(GoOnCallback(trainer))
    stop = None if watch.on_step is None else StopCallback(watch.on_step)
    if stop:
        trainer.add_callback(stop)
    return stop, forecast


def _ending(trainer: CourseTrainer, stop: StopCallback | None) -> str:
    """How the run ended, in the words of `training.fit`."""
    state = trainer.state
    if stop and stop.reason is not None:
        return f"stopped at step {state.global_step}: {stop.reason}"
    if state.global_step < state.max_steps:
        return f"stopped early: {trainer.args.metric_for_best_model} did not improve"
    return "finished"


def _figures(trainer: CourseTrainer) -> dict[str, Any]:
    """The evaluation of the weights that the model ended with: those of the best step if they were loaded."""
    evaluations = [line for line in trainer.state.log_history if "eval_loss" in line]
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    chosen = [line for line in evaluations if line["step"] == best] or evaluations
    return chosen[-1] if chosen else {}


@contextmanager
def _recording(record: RunRecord, folder: Path | None) -> Iterator[None]:
    """Write down how the run ended, whatever way it does, and how long it took."""
    started = time.perf_counter()
    try:
        yield
    except BaseException as error:
        record.run["ended"] = f"failed: {type(error).__name__}: {error}"
        raise
    finally:
        record.run["seconds"] = round(time.perf_counter() - started, 3)
        if folder:
            record.save(folder)
