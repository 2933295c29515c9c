"""`fit` against a bare loop and torch's own optimizers, its bookkeeping, and runs that stop, die and go on."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import optim, schedules
from course_lib.checkpoints import CheckpointError, load_checkpoint, weights_of
from course_lib.data import IGNORE_INDEX, Batch, ReviewBatches, TextBlocks
from course_lib.files import OutputError
from course_lib.models import EncoderConfig, LMConfig, TransformerClassifier, TransformerLM
from course_lib.run_record import RunRecord
from course_lib.training import (
    BestSoFar,
    DivergenceError,
    FitConfig,
    StopTraining,
    count_targets,
    evaluate,
    fit,
    measuring,
    predict,
    prediction_loss,
)

SIZES = {"vocab_size": 30, "max_length": 12, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 32}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than these runs; test_run_record.py looks at the pictures."""
    save = RunRecord.save
    monkeypatch.setattr(RunRecord, "save", lambda self, folder, *, pictures=True: save(self, folder, pictures=False))


def classifier(*, dropout=0.0, seed=0, dtype=torch.float32, **sizes):
    torch.manual_seed(seed)
    return TransformerClassifier(EncoderConfig(**{**SIZES, "dropout": dropout, **sizes})).to(dtype)


def reviews(count=22, *, batch_size=4, seed=0, **settings):
    """Ragged reviews: 22 of them in batches of 4 leave a last batch of 2."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(2, 30, size=rng.integers(1, 12)).tolist() for _ in range(count)]
    labels = [int(sum(text) % 2) for text in texts]
    return ReviewBatches(texts, labels, batch_size=batch_size, seed=seed, bucket=False, **settings)


def run(model, source, config=None, *, optimizer=None, schedule=None, **settings):
    optimizer = optimizer or optim.AdamW(model.parameters(), lr=1e-2)
    config = config or FitConfig(epochs=2, log_every=1)
    return fit(model, source, optimizer, schedule or schedules.Constant(), config, progress=False, **settings)


class Regression(nn.Module):
    """The smallest model with logits: counts of tokens times a matrix."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(30, 3, dtype=dtype)

    def forward(self, ids, mask):
        return (self.table(ids) * mask.unsqueeze(-1)).sum(dim=1)


class Listed:
    """A batch source over a list, which may announce another number than it gives."""

    def __init__(self, batches, announced=None):
        self.batches, self.announced = batches, announced

    def __len__(self):
        return len(self.batches) if self.announced is None else self.announced

    def epoch(self, number, start=0):
        return iter(self.batches[start:])


# --- the loop against references --------------------------------------------------------------------------------------


def bare_loop(model, source, optimizer, scheduler, *, epochs, accumulation, clip_norm):
    """Torch and nothing else; gives the mean loss of every update."""
    losses = []
    model.train()
    for epoch in range(epochs):
        listed = list(source.epoch(epoch))
        for first in range(0, len(listed), accumulation):
            group = listed[first : first + accumulation]
            targets = sum(int((b.targets != -100).sum()) for b in group)
            optimizer.zero_grad()
            total = 0.0
            for b in group:
                logits = model(b.inputs, b.mask)
                loss = F.cross_entropy(logits.flatten(0, -2), b.targets.flatten(), reduction="sum") / targets
                loss.backward()
                total += loss.detach()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            scheduler.step()
            losses.append(float(total))
    return losses


@pytest.mark.parametrize("accumulation", [1, 3, 4, 100])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_fit_equals_a_bare_torch_loop(accumulation, clip_norm):
    source, ours, theirs = reviews(), classifier(), classifier()
    config = FitConfig(epochs=3, accumulation=accumulation, clip_norm=clip_norm, log_every=1)
    steps = config.total_steps(len(source))
    schedule = schedules.Cosine(total_steps=steps, warmup_steps=2)
    record = run(ours, source, config, optimizer=torch.optim.AdamW(ours.parameters(), lr=1e-2), schedule=schedule)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    losses = bare_loop(
        theirs,
        source,
        reference,
        torch.optim.lr_scheduler.LambdaLR(reference, schedule),
        epochs=3,
        accumulation=accumulation,
        clip_norm=clip_norm,
    )
    assert record["steps"] == list(range(1, steps + 1))
    np.testing.assert_allclose(record["train_loss"], losses, rtol=1e-6, atol=1e-6)
    answers = [predict(model, source)[1] for model in (ours, theirs)]  # not weights: a key's bias has no gradient but
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-5)  # rounding, which AdamW scales up to full steps


@pytest.mark.parametrize(
    ("make", "scheduler"),
    [
        (
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 18),
        ),
        (lambda p: torch.optim.Adam(p, lr=1e-2), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 18)),
    ],
)
def test_per_step_losses_equal_those_of_torch_schedulers(make, scheduler):
    source, ours, theirs = reviews(), classifier(), classifier()
    decay = schedules.Linear if "SGD" in repr(make(ours.parameters())) else schedules.Cosine
    record = run(
        ours,
        source,
        FitConfig(epochs=3, log_every=1),
        optimizer=make(ours.parameters()),
        schedule=decay(total_steps=18),
    )
    reference = make(theirs.parameters())
    losses = bare_loop(theirs, source, reference, scheduler(reference), epochs=3, accumulation=1, clip_norm=1.0)
    np.testing.assert_allclose(record["train_loss"], losses, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_accumulation_has_the_gradient_of_one_large_batch(dtype, tolerance):
    gradients = []
    for batch_size, accumulation in ((4, 6), (22, 1)):
        model = classifier(dtype=dtype)
        config = FitConfig(accumulation=accumulation, clip_norm=None)
        run(model, reviews(batch_size=batch_size), config, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
        gradients.append([p.grad.clone() for p in model.parameters()])
    for small, large in zip(*gradients, strict=True):
        torch.testing.assert_close(small, large, rtol=tolerance, atol=tolerance)


def test_the_smaller_last_group_weighs_its_own_targets_only():
    """Six batches in groups of four: the last update has two batches, 4 + 2 reviews, and is divided by 6."""
    model, source = Regression(), reviews(shuffle=False)
    record = run(
        model,
        source,
        FitConfig(accumulation=4, log_every=1, clip_norm=None),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
    )
    reference, losses = Regression(), []
    for group in (list(source.epoch(0))[:4], list(source.epoch(0))[4:]):
        logits = torch.cat([reference(b.inputs, b.mask) for b in group])
        losses.append(float(F.cross_entropy(logits, torch.cat([b.targets for b in group])).detach()))
    assert record["train_loss"] == pytest.approx(losses, rel=1e-12)
    assert record["targets_seen"] == [16, 22]


def test_a_language_model_counts_tokens_and_not_padding():
    torch.manual_seed(0)
    model = TransformerLM(LMConfig(**SIZES))
    source = TextBlocks(np.arange(100) % 30, block_size=12, batch_size=2, shuffle=False)
    assert sum(count_targets(b) for b in source.epoch(0)) == 99
    record = run(model, source, FitConfig(accumulation=2, log_every=1))
    assert record["targets_seen"][-1] == 99
    assert evaluate(model, source).keys() == {"val_loss", "val_accuracy"}


def test_bf16_runs_on_the_cpu_and_stays_near_fp32():
    losses = {}
    for precision in ("fp32", "bf16"):
        losses[precision] = run(classifier(), reviews(), FitConfig(epochs=2, log_every=1, precision=precision))
    assert losses["bf16"]["train_loss"] != losses["fp32"]["train_loss"]
    np.testing.assert_allclose(losses["bf16"]["train_loss"], losses["fp32"]["train_loss"], atol=0.05)


def test_clipping_bounds_what_the_optimizer_sees_and_records_what_it_was():
    model = Regression()
    seen = []

    def look(state):
        norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        seen.append(float(norm))

    record = run(model, reviews(), FitConfig(clip_norm=0.01, log_every=1), on_step=look)
    assert max(seen) <= 0.01 + 1e-9
    assert min(record["grad_norm"]) > 0.01


# --- what it counts, when it looks ------------------------------------------------------------------------------------


def figures_of(values):
    """An evaluation that gives the listed values in turn."""
    given = iter(values)
    return lambda model: {"val_loss": next(given)}


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"eval_every": None}, [6, 12]),
        ({"eval_every": 5}, [5, 10, 12]),
        ({"eval_every": 4}, [4, 8, 12]),
        ({"eval_every": 100}, [12]),
        ({"eval_every": None, "max_steps": 7}, [6, 7]),
    ],
)
def test_evaluation_every_n_steps_or_each_epoch_and_always_at_the_last(settings, at):
    record = run(classifier(), reviews(), FitConfig(epochs=2, **settings), evaluate=figures_of(range(1, 9)))
    assert [step for step, _ in record.evaluated()] == at


def test_max_steps_ends_a_run_inside_an_epoch():
    record = run(classifier(), reviews(), FitConfig(epochs=9, max_steps=8, log_every=3))
    assert record["steps"] == [3, 6, 8]
    assert record["epochs"] == [0, 0, 1]
    assert record.run["ended"] == "finished"


def test_a_row_is_the_mean_over_all_targets_since_the_row_before():
    every = run(classifier(), reviews(), FitConfig(epochs=2, log_every=1))
    windows = run(classifier(), reviews(), FitConfig(epochs=2, log_every=4))
    assert windows["steps"] == [4, 6, 8, 12]
    counts = np.diff([0, *every["targets_seen"]])
    sums = np.cumsum(counts * np.array(every["train_loss"]))
    before = np.array([0, *windows["steps"][:-1]]) - 1
    for row, (first, last) in enumerate(zip(before, np.array(windows["steps"]) - 1, strict=True)):
        total = sums[last] - (sums[first] if first >= 0 else 0)
        targets = counts[first + 1 : last + 1].sum()
        assert windows["train_loss"][row] == pytest.approx(total / targets, rel=1e-6)
    assert windows["targets_seen"][-1] == 44


@pytest.mark.parametrize(
    ("mode", "values", "stops_at", "best"),
    [
        ("min", [3.0, 2.0, 2.0, 2.5, 1.0], 4, 2),  # an equal value is not better
        ("max", [0.1, 0.5, 0.4, 0.3, 0.9], 4, 2),
        ("min", [math.nan, 3.0, math.nan, 4.0, 1.0], 4, 2),
        ("max", [0.5, 0.6, 0.5, 0.7, 0.8], 5, 5),
    ],
)
def test_early_stopping_waits_patience_evaluations(mode, values, stops_at, best, tmp_path):
    model, kept = classifier(), []

    def figures(model):
        kept.append(weights_of(model))
        return {"val_loss": 1.0, "score": values[len(kept) - 1]}

    config = FitConfig(epochs=5, max_steps=5, eval_every=1, patience=2, monitor="score", mode=mode)
    record = run(model, reviews(), config, evaluate=figures, out=tmp_path)
    assert record["steps"][-1] == stops_at
    assert record.run["best_step"] == best
    assert ("did not improve in 2" in record.run["ended"]) == (stops_at < 5)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, kept[best - 1][name])


def test_restore_best_can_be_left_out_and_the_file_keeps_the_best(tmp_path):
    from safetensors.torch import load_file

    kept, model = [], classifier()

    def figures(model):
        kept.append(weights_of(model))
        return {"val_loss": float(len(kept))}

    run(model, reviews(), FitConfig(epochs=3, restore_best=False), evaluate=figures, out=tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, kept[-1][name])
        assert torch.equal(saved[name], kept[0][name])


def test_a_figure_that_is_always_nan_ends_in_valid_json(tmp_path):
    record = run(classifier(), reviews(), evaluate=lambda model: {"val_loss": math.nan}, out=tmp_path)
    content = json.loads((tmp_path / "training_metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(content["val_loss"]) == {None}
    assert record.run["best_step"] is None


def test_an_evaluation_without_the_monitored_figure_says_so():
    with pytest.raises(ValueError, match=r"expected a figure 'val_f1', got \['val_loss'\]"):
        run(classifier(), reviews(), FitConfig(monitor="val_f1"), evaluate=lambda model: {"val_loss": 1.0})
    with pytest.raises(ValueError, match="expected a figure 'val_loss'"):
        run(classifier(), reviews(), evaluate=lambda model: {"loss": 1.0})


def test_best_so_far_keeps_the_first_of_equals():
    best = BestSoFar("score", "max", 2)
    assert [best.update({"val_loss": 0.0, "score": s}, i) for i, s in enumerate((0.5, 0.5, 0.6))] == [True, False, True]
    again = BestSoFar("score", "max", 2)
    again.restore(best.state())
    assert (again.value, again.step, again.stale, again.exhausted) == (0.6, 2, 0, False)


# --- measuring --------------------------------------------------------------------------------------------------------


def test_validation_weights_every_target_once_whatever_the_batches():
    model = classifier()
    whole = evaluate(model, reviews(batch_size=22, shuffle=False))
    ragged = evaluate(model, reviews(batch_size=4, shuffle=False))
    single = evaluate(model, reviews(batch_size=1, shuffle=False))
    (batch,) = reviews(batch_size=22, shuffle=False).epoch(0)
    model.eval()
    logits = model(batch.inputs, batch.mask)
    assert whole["val_loss"] == pytest.approx(float(F.cross_entropy(logits, batch.targets).detach()), rel=1e-6)
    assert whole["val_accuracy"] == pytest.approx(float((logits.argmax(-1) == batch.targets).double().mean()))
    assert ragged == pytest.approx(whole, rel=1e-6)
    assert single == pytest.approx(whole, rel=1e-6)
    targets, predicted = predict(model, reviews(batch_size=4, shuffle=False))
    assert torch.equal(targets, batch.targets)
    torch.testing.assert_close(predicted, logits.detach(), rtol=1e-5, atol=1e-6)


def test_evaluation_leaves_mode_gradients_and_generators_alone():
    model = classifier(dropout=0.5).train()
    model.blocks[0].eval()  # a part frozen in eval mode stays so
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second = evaluate(model, reviews()), evaluate(model, reviews())
    assert first == second  # no dropout
    assert model.training
    assert not model.blocks[0].training
    assert model.head.training
    assert all(p.grad is None for p in model.parameters())
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    with pytest.raises(RuntimeError, match="stop"), measuring(model):
        raise RuntimeError("stop")
    assert model.training


def test_evaluating_changes_no_training_loss():
    config = FitConfig(epochs=2, log_every=1, eval_every=2, restore_best=False)
    without = run(classifier(dropout=0.3), reviews(), config)
    with_it = run(classifier(dropout=0.3), reviews(), config, evaluate=lambda m: evaluate(m, reviews(seed=9)))
    assert with_it["train_loss"] == without["train_loss"]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number, at least 1, got 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"accumulation": -1}, "accumulation"),
        ({"log_every": 0}, "log_every"),
        ({"eval_every": 0}, "eval_every"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"patience": 0}, "patience"),
        ({"max_steps": 0}, "max_steps"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"clip_norm": math.nan}, "clip_norm"),
        ({"mode": "lowest"}, "mode: expected one of .*'lowest'"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**settings)


def test_a_source_must_give_the_batches_it_announces():
    listed = list(reviews().epoch(0))
    with pytest.raises(ValueError, match="expected at least one batch"):
        run(classifier(), Listed([]))
    with pytest.raises(ValueError, match="epoch 0 ended at step 0 instead of 6"):
        run(classifier(), Listed([], announced=6))
    with pytest.raises(ValueError, match="epoch 0 ended at step 6 instead of 8"):
        run(classifier(), Listed(listed, announced=8))
    with pytest.raises(ValueError, match="epoch 0 ended at step 6 instead of 4"):
        run(classifier(), Listed(listed, announced=4))


def test_batches_without_anything_to_predict_are_refused():
    (batch,) = reviews(batch_size=22).epoch(0)
    ignored = Batch(batch.inputs, batch.mask, torch.full_like(batch.targets, IGNORE_INDEX))
    with pytest.raises(ValueError, match="step 1: expected at least one target"):
        run(classifier(), Listed([ignored]))
    with pytest.raises(ValueError, match="evaluate: expected at least one target"):
        evaluate(classifier(), Listed([ignored]))
    empty = Batch(batch.inputs[:0], batch.mask[:0], batch.targets[:0])
    with pytest.raises(ValueError, match="at least"):
        run(classifier(), Listed([empty]))


def test_a_model_with_nothing_to_train_is_refused():
    model = classifier().requires_grad_(False)
    with pytest.raises(ValueError, match="TransformerClassifier has none"):
        run(model, reviews(), optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    calls = []
    with pytest.raises(OutputError, match="file"):
        run(classifier(), reviews(), out=tmp_path / "file" / "run", on_step=calls.append)
    assert not calls


# --- divergence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_advice_and_valid_json(value, tmp_path):
    model, calls = classifier(), []

    def spoiled(model, batch):
        calls.append(batch)
        loss, logits = prediction_loss(model, batch)
        return (loss * value if len(calls) == 4 else loss), logits

    config = FitConfig(epochs=2, log_every=2, checkpoint_every=1)
    with pytest.raises(DivergenceError) as caught:
        run(model, reviews(), config, objective=spoiled, out=tmp_path)
    message = str(caught.value)
    for words in ("step 4", f"loss is {value}", "rate was 0.01", "gradient norm", "Try", "warm-up", str(tmp_path)):
        assert words in message
    content = json.loads((tmp_path / "training_metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["run"]["ended"].startswith("diverged: step 4")
    assert content["steps"] == [2]
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
    assert checkpoint["progress"]["step"] == 3
    assert all(weight.isfinite().all() for weight in checkpoint["model"].values())


def test_an_infinite_gradient_of_a_finite_loss_never_reaches_the_checkpoint(tmp_path):
    """The square root has slope inf at 0: the loss looks healthy, and the update would spoil the weights."""
    model, calls = Regression(), []

    def objective(model, batch):
        calls.append(batch)
        loss, logits = prediction_loss(model, batch)
        return (loss + (model.table.weight * 0).abs().sum().sqrt() if len(calls) == 3 else loss), logits

    with pytest.raises(DivergenceError, match=r"step 3: .*gradient norm nan|step 3: .*gradient norm inf"):
        run(model, reviews(), FitConfig(checkpoint_every=1), objective=objective, out=tmp_path)
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
    assert checkpoint["progress"]["step"] == 2
    assert all(weight.isfinite().all() for weight in checkpoint["model"].values())


def test_a_rate_far_too_high_is_reported_and_not_just_nan():
    model = classifier()
    with pytest.raises(DivergenceError, match="rate ten times lower"):
        run(
            model,
            reviews(),
            FitConfig(epochs=50, clip_norm=None),
            optimizer=torch.optim.SGD(model.parameters(), lr=1e30),
        )


# --- stop and go on ---------------------------------------------------------------------------------------------------

RESUMABLE = FitConfig(epochs=3, accumulation=2, log_every=1, eval_every=4, checkpoint_every=1, seed=5)


def stop_at(step):
    def on_step(state):
        if state.step == step:
            raise StopTraining("enough")

    return on_step


def resumable(out, *, config=RESUMABLE, model=None, optimizer=None, **settings):
    """11 batches in groups of 2: 6 updates an epoch, the last of one batch; dropout and shuffling on."""
    model = model or classifier(dropout=0.3)
    return run(
        model,
        reviews(44),
        config,
        optimizer=optimizer or optim.AdamW(model.parameters(), lr=1e-2),
        schedule=schedules.Cosine(total_steps=18, warmup_steps=3),
        evaluate=lambda m: evaluate(m, reviews(10, seed=7)),
        out=out,
        **settings,
    )


def without_time(record):
    return {name: values for name, values in record.columns.items() if name != "seconds"}


@pytest.mark.parametrize("stops", [(1,), (3, 4), (6,), (7, 13), (17,)])
def test_a_resumed_run_repeats_the_losses_bit_for_bit(stops, tmp_path):
    whole = classifier(dropout=0.3)
    expected = without_time(resumable(tmp_path / "whole", model=whole))
    pieces = classifier(dropout=0.3)
    for number, step in enumerate(stops):
        record = resumable(tmp_path / "pieces", model=pieces, resume=number > 0, on_step=stop_at(step))
        assert record.run["ended"] == f"stopped at step {step}: enough"
        torch.manual_seed(999)  # another process would have other generators and other weights
        pieces = classifier(dropout=0.3, seed=1)
    record = resumable(tmp_path / "pieces", model=pieces, resume=True)
    assert without_time(record) == expected
    assert record.run["resumed_at"] == list(stops)
    assert record.run["ended"] == "finished"
    for mine, other in zip(pieces.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_stopping_between_rows_and_checkpoints_loses_nothing(tmp_path):
    sparse = FitConfig(epochs=3, accumulation=2, log_every=5, eval_every=9, checkpoint_every=7, seed=5)
    expected = without_time(resumable(tmp_path / "whole", config=sparse))
    resumable(tmp_path / "pieces", config=sparse, on_step=stop_at(8))
    assert without_time(resumable(tmp_path / "pieces", config=sparse, resume=True)) == expected


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(tmp_path):
    sparse = FitConfig(epochs=3, accumulation=2, log_every=1, checkpoint_every=4, seed=5)
    expected = without_time(resumable(tmp_path / "whole", config=sparse))

    def interrupt(state):
        if state.step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path / "pieces", config=sparse, on_step=interrupt)
    content = json.loads((tmp_path / "pieces" / "training_metrics.json").read_text())
    assert content["run"]["ended"] == "interrupted at step 11"
    record = resumable(tmp_path / "pieces", config=sparse, resume=True)
    assert record.run["resumed_at"] == [8]
    assert without_time(record) == expected


def test_a_run_that_fails_says_so_in_its_record(tmp_path):
    def fail(state):
        raise ZeroDivisionError("a mistake in on_step")

    with pytest.raises(ZeroDivisionError):
        resumable(tmp_path, on_step=fail)
    assert json.loads((tmp_path / "training_metrics.json").read_text())["run"]["ended"] == "failed at step 1"


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    model = classifier(dropout=0.3)
    first = without_time(resumable(tmp_path, model=model))
    again = classifier(dropout=0.3, seed=4)
    assert without_time(resumable(tmp_path, model=again, resume=True)) == first
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_whatever_a_run_says_of_itself_its_checkpoint_can_be_loaded(tmp_path):
    """Text of another class, NumPy numbers and paths once made checkpoints that weights_only refuses."""
    facts = {"torch": torch.__version__, "path": Path("x"), "rate": np.float64(0.1), "n": np.int64(3), "bad": math.nan}
    model = classifier()
    run(
        model,
        reviews(),
        run=facts,
        evaluate=lambda m: {"val_loss": np.float64(0.5), "val_f1": torch.tensor(0.5)},
        out=tmp_path,
    )
    assert load_checkpoint(tmp_path / "checkpoint.pt")["best"]["value"] == 0.5
    content = json.loads((tmp_path / "training_metrics.json").read_text())["run"]
    assert [content[key] for key in ("path", "rate", "n", "bad")] == ["x", 0.1, 3, None]


def other(**changes):
    return FitConfig(**{**{f: getattr(RESUMABLE, f) for f in RESUMABLE.__dataclass_fields__}, **changes})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": other(seed=6)}, "seed=5, this run has 6"),
        ({"config": other(accumulation=1)}, "accumulation=2, this run has 1"),
        ({"config": other(clip_norm=None)}, "clip_norm=1.0, this run has None"),
        ({"config": other(monitor="val_accuracy")}, "monitor='val_loss'"),
        (
            {"model": classifier(d_ff=64)},
            "weights of another model: for 'blocks.0.feed_forward.narrow.weight'.*expected .16, 64",
        ),
        ({"model": classifier(n_layers=2)}, "weights of another model"),
    ],
)
def test_resuming_with_other_settings_names_what_differs(settings, message, tmp_path):
    resumable(tmp_path, on_step=stop_at(2))
    with pytest.raises(CheckpointError, match=message):
        resumable(tmp_path, resume=True, **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: torch.optim.AdamW(p, lr=1e-2), "optimizer='course_lib.optim.adaptive.AdamW', this run has 'torch"),
        (lambda p: optim.Adam(p, lr=1e-2), "optimizer="),
        (lambda p: optim.AdamW(p, lr=2e-2), "optimizer group 0 initial_lr=0.01, this run has 0.02"),
        (lambda p: optim.AdamW(p, lr=1e-2, betas=(0.9, 0.95)), "optimizer group 0 betas"),
    ],
)
def test_resuming_with_another_optimizer_names_what_differs(make, message, tmp_path):
    resumable(tmp_path, on_step=stop_at(2))
    model = classifier(dropout=0.3)
    with pytest.raises(CheckpointError, match=message):
        resumable(tmp_path, resume=True, model=model, optimizer=make(model.parameters()))


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="expected a folder in `out`"):
        run(classifier(), reviews(), resume=True)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        run(classifier(), reviews(), out=tmp_path, resume=True)
    resumable(tmp_path, on_step=stop_at(2))
    model = classifier(dropout=0.3)
    with pytest.raises(CheckpointError, match="batches_per_epoch=11, this run has 6"):
        run(model, reviews(), other(), out=tmp_path, resume=True)


VICTIM = """
import sys, time
sys.path.insert(0, {tests!r})
import test_training as t
t.resumable(sys.argv[1], resume=sys.argv[2] == "resume", on_step=lambda state: time.sleep(0.06))
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_whole_files_and_the_same_losses(tmp_path):
    expected = without_time(resumable(tmp_path / "whole"))
    script = tmp_path / "victim.py"
    script.write_text(VICTIM.format(tests=str(Path(__file__).parent)))
    out, log, rng, kills, resumed = tmp_path / "victim", tmp_path / "victim.log", random.Random(1), 0, set()
    for _ in range(6):
        resume = (out / "checkpoint.pt").exists()
        with log.open("w") as errors:
            child = subprocess.Popen(
                [sys.executable, str(script), str(out), "resume" if resume else "new"],
                stderr=errors,
                cwd=Path(__file__).parents[1],
                env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            )
        before = latest(out)
        deadline = time.monotonic() + 60
        while child.poll() is None and latest(out) == before and time.monotonic() < deadline:
            time.sleep(0.005)  # until it has got somewhere, so that the whole ends
        if kills < 3:
            time.sleep(rng.uniform(0, 0.25))
        else:
            child.wait(60)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        content = json.loads((out / "training_metrics.json").read_text())
        resumed.add(load_checkpoint(out / "checkpoint.pt")["progress"]["step"])
        assert content["train_loss"] == expected["train_loss"][: len(content["train_loss"])]
    assert child.returncode == 0, log.read_text()
    assert kills == 3
    assert len(resumed) == 3
    content = json.loads((out / "training_metrics.json").read_text())
    assert {name: content[name] for name in expected} == expected
    assert content["run"]["ended"] == "finished"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]  # what a kill left half written is gone


def latest(out):
    """When the checkpoint was last replaced; None before the first."""
    try:
        return (out / "checkpoint.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return None


# --- it learns --------------------------------------------------------------------------------------------------------


def test_it_learns_a_handful_of_reviews_by_heart():
    model = classifier()
    source = reviews(8, batch_size=8)
    before = evaluate(model, source)
    run(model, source, FitConfig(epochs=60), optimizer=optim.AdamW(model.parameters(), lr=1e-2))
    after = evaluate(model, source)
    assert before["val_loss"] > 0.4
    assert after["val_loss"] < 0.05
    assert after["val_accuracy"] == 1.0


def test_the_same_seed_gives_the_same_run():
    first, second = (run(classifier(dropout=0.2), reviews())["train_loss"] for _ in range(2))
    assert first == second
    assert run(classifier(dropout=0.2, seed=1), reviews())["train_loss"] != first


def test_a_progress_bar_is_shown_unless_it_is_not_wanted(capsys):
    model = classifier()
    fit(model, reviews(), optim.AdamW(model.parameters()), schedules.Constant(), FitConfig(log_every=1))
    assert "6/6" in capsys.readouterr().err
    run(model, reviews())
    assert capsys.readouterr().err == ""
