"""Carry out a recipe by transformers' Trainer, in the five phases of the first source document."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch

from course_lib.data import Review
from course_lib.files import OutputError
from course_lib.finetuning import FineTuneConfig, Forecast, Watching
from course_lib.finetuning.classify import new_classifier, readable_length, train_classifier
from course_lib.finetuning.predict import classifier_of
from course_lib.finetuning.run import FineTuned
from course_lib.finetuning.texts import Tokenized, check_classes, check_texts, tokenize
from course_lib.pretrained import Loaded, PretrainedError, body_layers
from course_lib.recipes.fine_tune_settings import LABELS, FineTuneSettings, checkpoints_on_disk
from course_lib.recipes.forecast import duration
from course_lib.recipes.reviews import in_words, judge, load_parts
from course_lib.recipes.settings import RecipeError, warmup_warning
from course_lib.recipes.system import Job, Outcome


def carry_out(job: Job) -> Outcome:
    """Run a recipe with `FineTuneSettings`; see `recipes.run` for what it raises."""
    settings: FineTuneSettings = job.settings
    tell, config = job.tell, settings.config(job.seed)
    tell("\n[1/5] Loading model and tokenizer")
    loaded = _load_model(settings, job)
    tell("\n[2/5] Loading reviews")
    parts = load_parts(settings, job.seed)
    _check_and_count(settings, parts, tell)
    tell("\n[3/5] Tokenizing")
    train, validation, test = (_tokenize(part, loaded, settings) for part in parts)
    _tell_tokens(train, validation, test, settings, tell)
    tell("\n[4/5] Setting up training")
    _tell_plan(job, config, len(train), loaded)
    tell("\n[5/5] Training")
    done = train_classifier(
        loaded,
        train,
        validation,
        config,
        job.hardware,
        out=job.out,
        resume=job.resume,
        watching=Watching(
            on_step=job.on_step, bar=job.progress, on_forecast=lambda forecast: _tell_forecast(forecast, job)
        ),
        run=job.description,
    )
    if not done.finished:
        return Outcome(record=done.record, figures={}, words=[_kept(job.out)], finished=False)
    return _judged(job, done, parts, validation)


def _load_model(settings: FineTuneSettings, job: Job) -> Loaded:
    try:
        loaded = new_classifier(settings.checkpoint, n_labels=LABELS, layers=settings.layers, seed=job.seed)
    except PretrainedError:
        raise
    except ValueError as error:  # a number of layers that this checkpoint cannot be given
        raise RecipeError(str(error)) from error
    readable_length(loaded, settings.max_length)
    parameters = sum(p.numel() for p in loaded.model.parameters())
    job.tell(f"  {settings.checkpoint}: {parameters:,} parameters in {len(body_layers(loaded.model))} layers")
    if loaded.new:
        job.tell(
            f"  newly initialized: {', '.join(loaded.new)}. That is expected: the checkpoint has no head for these "
            f"labels, so it starts at random, and the loss near ln {LABELS} = {math.log(LABELS):.3f}."
        )
    else:
        job.tell("  nothing is newly initialized: the checkpoint brings a trained head along")
    return loaded


def _check_and_count(settings: FineTuneSettings, parts: tuple[list[Review], ...], tell: Any) -> None:
    train, validation, test = parts
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        check_texts(name, part, LABELS)
    tell(f"  training: {in_words(train)}")
    tell(f"  validation, measured on the way: {in_words(validation)}")
    tell(f"  test, judges once at the end: {in_words(test)}")
    if warning := check_classes(train, allow_single_class=settings.allow_single_class):
        tell(f"  {warning}")


def _tokenize(reviews: list[Review], loaded: Loaded, settings: FineTuneSettings) -> Tokenized:
    return tokenize(reviews, loaded.tokenizer, settings.max_length)


def _tell_tokens(
    train: Tokenized, validation: Tokenized, test: Tokenized, settings: FineTuneSettings, tell: Any
) -> None:
    texts = len(train) + len(validation) + len(test)
    seconds = train.seconds + validation.seconds + test.seconds
    mean = sum(train.lengths) / len(train)
    tell(f"  {texts:,} reviews in {seconds:.2f} s, {texts / seconds:,.0f} a second, once and not again each epoch")
    tell(
        f"  training reviews have {mean:.0f} tokens on average, {max(train.lengths)} at most; {train.cut:,} were cut "
        f"at {settings.max_length}"
    )


def _tell_plan(job: Job, config: FineTuneConfig, texts: int, loaded: Loaded) -> None:
    """Steps, rate, precision and disk, before anything long begins; refuses a disk that is too small."""
    micro_batches, steps = config.plan(texts)
    an_epoch = math.ceil(micro_batches / config.accumulation)
    job.tell(
        f"  {micro_batches:,} micro-batches of {config.batch_size} an epoch, {config.accumulation} to an update: "
        f"{an_epoch:,} updates an epoch, {steps:,} in all"
    )
    precision = "bf16" if config.uses_bf16(job.hardware) else "fp32"
    job.tell(
        f"  AdamW, rate {config.learning_rate:g}, {config.schedule} after {config.warmup_steps} updates of warm-up, "
        f"decay {config.weight_decay:g}; {precision}; {'the head alone' if config.freeze_body else 'all weights'} train"
    )
    if warning := warmup_warning(job.settings, steps):
        job.tell(f"  {warning}")
    if job.out is None:
        return
    all_weights = sum(p.numel() for p in loaded.model.parameters())
    body = sum(p.numel() for p in loaded.model.base_model.parameters())
    trained = all_weights - body if config.freeze_body else all_weights
    one = 4 * all_weights + 8 * trained  # fp32 weights, and two fp32 moments of AdamW for each that trains
    count = checkpoints_on_disk(config, steps, an_epoch)
    free = shutil.disk_usage(job.out).free
    job.tell(f"  a checkpoint takes about {one / 1e6:,.0f} MB; {count} of them {count * one / 1e9:.1f} GB")
    if count * one + 4 * all_weights > free:
        raise OutputError(
            0,
            f"the checkpoints of this run need {count * one / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: keep fewer "
            "with --set keep_checkpoints=2, or choose another --out",
            str(job.out),
        )


def _tell_forecast(forecast: Forecast, job: Job) -> None:
    took = job.recipe.document_minutes
    beside = f" (the document's machine took {took:g} min for its run)" if took else ""
    job.tell(
        f"  about {duration(forecast.seconds)} in all and {forecast.memory_bytes / 1e9:.1f} GB of memory, told from "
        f"the first {forecast.after} updates{beside}. Ctrl-C saves a checkpoint."
    )


def _kept(out: Path | None) -> str:
    return f"A checkpoint was saved in {out}." if out else "Nothing was saved, since no folder was named."


def _judged(job: Job, done: FineTuned, parts: tuple[list[Review], ...], validation: Tokenized) -> Outcome:
    """The evaluation block and the verdict."""
    train, _, test = parts
    job.tell("\nEVALUATION")
    chosen = "which chose the weights" if job.settings.best_metric else "after the last epoch"
    job.tell(f"  on {len(validation):,} validation reviews, {chosen}:")
    for name, value in done.figures.items():
        if name.startswith("eval_") and not name.endswith(("runtime", "per_second")):
            job.tell(f"    {name}: {value:.4f}" if isinstance(value, float) else f"    {name}: {value}")
    logits = classifier_of(done.model, done.tokenizer).logits([review.text for review in test])
    targets = torch.tensor([review.label for review in test])
    figures, words = judge(targets, logits.argmax(dim=-1), train)
    words.append("One run with one seed: another seed may differ by as much as the interval is wide (chapter 17).")
    if done.forecast:
        words.append(
            f"Training took {duration(done.seconds)}, {duration(done.forecast.seconds)} were forecast; memory "
            f"{done.peak_memory_bytes / 1e9:.2f} GB, {done.forecast.memory_bytes / 1e9:.2f} GB were forecast."
        )
    if job.out:
        words.append(f'Saved: python -m course_lib predict {job.out} "your text"')
    figures |= {name: value for name, value in done.figures.items() if name.startswith("eval_")}
    return Outcome(record=done.record, figures=figures, words=words, finished=True)
