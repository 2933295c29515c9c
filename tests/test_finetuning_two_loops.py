"""Tests of course_lib.finetuning.two_loops: `fit` and the Trainer of transformers are one loop, and where they are not.

The second half pins what the installed Trainer does on its own, so that chapter 16 can say it. When one of those tests
fails after an upgrade, the Trainer has changed, and so must the chapter.
"""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from course_lib import optim, pretrained, schedules
from course_lib.data import Batch, BatchSource, ReviewBatches, load_reviews
from course_lib.finetuning.adapter import AsCourseModel, group_loss, without_dropout
from course_lib.finetuning.two_loops import (
    AdamWSettings,
    Steps,
    TwoRuns,
    build_trainer,
    compare,
    relative_gap,
    with_fit,
    with_trainer,
)
from course_lib.training import DivergenceError, FitConfig, evaluate, predict

TOLERANCE = 1e-6  # relative, of a step's loss, in float32
VOCABULARY = 50


# --- models and batches ---------------------------------------------------------------------------------------------


def distilbert(*, seed: int = 1, dropout: float = 0.0, dim: int = 32) -> Any:
    """A small DistilBERT with random weights, always the same."""
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=dim, n_layers=2, n_heads=2, hidden_dim=2 * dim, max_position_embeddings=32
    )
    config.dropout = config.attention_dropout = config.seq_classif_dropout = dropout
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return DistilBertForSequenceClassification(config)


def reviews(count: int, *, batch_size: int = 4, longest: int = 12, **options: Any) -> ReviewBatches:
    """Sequences of random ids and of random length; the label says whether the first id is in the upper half."""
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, VOCABULARY, size=rng.integers(2, longest + 1)).tolist() for _ in range(count)]
    return ReviewBatches(sequences, [int(s[0] >= VOCABULARY // 2) for s in sequences], batch_size=batch_size, **options)


@pytest.fixture(scope="module")
def minilm() -> pretrained.Loaded:
    return pretrained.load_classifier("minilm")


def pocket_reviews(tokenizer: Any, count: int, batch_size: int) -> ReviewBatches:
    chosen = load_reviews("train")[:count]
    sequences = [tokenizer(review.text, truncation=True, max_length=16)["input_ids"] for review in chosen]
    return ReviewBatches(sequences, [review.label for review in chosen], batch_size=batch_size)


FAST = AdamWSettings(learning_rate=2e-3, warmup_steps=10)  # a small random model needs larger steps than MiniLM


def test_the_batches_of_these_tests_hold_a_partial_group_and_a_smaller_batch() -> None:
    source = reviews(102)
    sizes = [len(batch) for batch in source.epoch(0)]
    assert len(source) == 26
    assert sizes[-1] == 2
    assert len(reviews(106)) == 27


# --- the proof: one loop --------------------------------------------------------------------------------------------


def assert_one_loop(runs: TwoRuns, steps: int) -> None:
    """All steps agree, and there is something to agree on: the losses move, and some gradients are clipped."""
    assert len(runs.fit.losses) == len(runs.trainer.losses) == steps
    assert steps >= 100
    assert runs.loss_gap <= TOLERANCE
    assert runs.norm_gap <= TOLERANCE
    assert runs.rate_gap <= 1e-12
    assert np.std(runs.fit.losses) > 0.01


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("accumulation", "epochs", "steps"), [(1, 4, 108), (2, 8, 112)])
def test_distilbert_loses_the_same_at_every_step(accumulation: int, epochs: int, steps: int, dropout: float) -> None:
    # 106 reviews: 27 micro-batches, the last of them with 2, which is alone in its group at accumulation 2.
    config = FitConfig(epochs=epochs, accumulation=accumulation, clip_norm=0.5, seed=3)
    runs = compare(lambda: distilbert(dropout=dropout), reviews(106), config, FAST)
    assert_one_loop(runs, steps)
    assert min(runs.fit.norms) < 0.5 < max(runs.fit.norms)


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation", "epochs", "count"), [(1, 4, 51), (2, 8, 50)])
def test_minilm_loses_the_same_at_every_step(
    minilm: pretrained.Loaded, accumulation: int, epochs: int, count: int
) -> None:
    # 26 micro-batches, the last smaller, at accumulation 1; 25 in groups of 2 at accumulation 2, the last one alone.
    source = pocket_reviews(minilm.tokenizer, count, batch_size=2)
    config = FitConfig(epochs=epochs, accumulation=accumulation)
    make = lambda: without_dropout(copy.deepcopy(minilm.model))  # noqa: E731
    assert_one_loop(compare(make, source, config, AdamWSettings(learning_rate=5e-5, warmup_steps=10)), 104)


def test_minilm_with_dropout_loses_the_same_where_the_generator_starts_the_same(minilm: pretrained.Loaded) -> None:
    source = pocket_reviews(minilm.tokenizer, 10, batch_size=2)
    config = FitConfig(epochs=2, accumulation=2, seed=7)  # 5 micro-batches, 3 updates an epoch
    runs = compare(lambda: copy.deepcopy(minilm.model), source, config, AdamWSettings(learning_rate=5e-5))
    assert runs.loss_gap <= TOLERANCE
    still = compare(
        lambda: without_dropout(copy.deepcopy(minilm.model)), source, replace(config, max_steps=2), AdamWSettings()
    )
    assert relative_gap(runs.fit.losses[:1], still.fit.losses[:1]) > 1e-3  # dropout was on


def test_the_update_written_out_agrees_with_torchs_own() -> None:
    config = FitConfig(epochs=4, accumulation=1)
    runs = compare(distilbert, reviews(106), config, replace(FAST, fused=False))
    assert_one_loop(runs, 108)


def test_the_models_own_loss_agrees_too_without_accumulation() -> None:
    # torch's mean of a batch against the course's sum divided by its number: the same up to rounding. At four times the
    # rate the rounding grows to 3e-6 in as many steps.
    settings = replace(FAST, learning_rate=5e-4)
    runs = compare(distilbert, reviews(106), FitConfig(epochs=4), settings, loss=None)
    assert_one_loop(runs, 108)


def test_the_weights_end_the_same() -> None:
    ours, theirs, config = distilbert(), distilbert(), FitConfig(epochs=1, accumulation=2)
    with_fit(ours, reviews(22), config, FAST)
    with_trainer(theirs, reviews(22), config, FAST)
    for (name, mine), other, start in zip(
        ours.named_parameters(), theirs.parameters(), distilbert().parameters(), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7, msg=name)
        assert not torch.equal(mine, start), name


def test_two_comparisons_are_equal_to_the_bit() -> None:
    config = FitConfig(epochs=1, accumulation=2)
    assert compare(distilbert, reviews(22), config) == compare(distilbert, reviews(22), config)


# --- the proof would fail if the loops differed ---------------------------------------------------------------------


def both(mine: dict[str, Any], theirs: dict[str, Any], *, loss: Any = group_loss) -> TwoRuns:
    """Two runs of 28 updates that may be told different things."""

    def parts(told: dict[str, Any]) -> tuple[Any, BatchSource, FitConfig, AdamWSettings]:
        model = distilbert(dropout=told.get("dropout", 0.0), seed=told.get("model", 1))
        source = reviews(106, seed=told.get("order", 0))
        clip_norm = told.get("clip_norm", 0.5)
        config = FitConfig(epochs=2, accumulation=2, clip_norm=clip_norm, seed=told.get("seed", 0))
        keys = ("learning_rate", "weight_decay", "warmup_steps")
        return model, source, config, replace(FAST, **{key: told[key] for key in keys if key in told})

    return TwoRuns(fit=with_fit(*parts(mine)), trainer=with_trainer(*parts(theirs), loss=loss))


DIFFERENCES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"learning_rate": 2.02e-3}),
    ({}, {"weight_decay": 1.0}),
    ({}, {"warmup_steps": 11}),
    ({}, {"clip_norm": 0.3}),
    ({}, {"clip_norm": None}),
    ({}, {"order": 1}),
    ({}, {"model": 2}),
    ({"dropout": 0.1}, {}),
    ({"dropout": 0.1}, {"dropout": 0.1, "seed": 1}),
]


@pytest.mark.parametrize(("mine", "theirs"), DIFFERENCES)
def test_one_difference_on_one_side_is_seen(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert both(mine, theirs).loss_gap > 50 * TOLERANCE


def test_no_difference_leaves_no_gap() -> None:
    assert both({}, {}).loss_gap <= TOLERANCE


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_clipping_or_none_is_the_same_in_both(clip_norm: float | None) -> None:
    runs = both({"clip_norm": clip_norm}, {"clip_norm": clip_norm})
    assert runs.loss_gap <= TOLERANCE
    assert runs.norm_gap <= TOLERANCE


# --- what the installed Trainer does on its own ---------------------------------------------------------------------


def train_alone(
    source: BatchSource, config: FitConfig, out: Path, settings: AdamWSettings = FAST, *, model: Any = None, **told: Any
) -> tuple[Any, Any]:
    """Run the Trainer; returns it and what `train()` gave."""
    trainer = build_trainer(model or distilbert(), source, config, settings, out=str(out), **told)
    return trainer, trainer.train()


def rows_of(trainer: Any) -> list[dict[str, float]]:
    return [row for row in trainer.state.log_history if "loss" in row]


@pytest.fixture(scope="module")
def document_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Source document 1 in small: 2,500 reviews, batch 8, accumulation 2, 3 epochs, a warm-up of 500 steps to 3e-5."""
    settings = AdamWSettings(learning_rate=3e-5, warmup_steps=500)
    source = reviews(2500, batch_size=8, longest=3)
    out = tmp_path_factory.mktemp("document")
    return train_alone(
        source, FitConfig(epochs=3, accumulation=2), out, settings, model=distilbert(dim=4), log_every=100
    )


def test_an_epoch_of_313_micro_batches_has_157_updates_not_156(document_run: tuple[Any, Any]) -> None:
    trainer, _ = document_run
    config = FitConfig(epochs=3, accumulation=2)
    assert len(reviews(2500, batch_size=8, longest=3)) == 313
    assert config.steps_per_epoch(313) == 157
    assert trainer.state.max_steps == trainer.state.global_step == config.total_steps(313) == 471  # not 468


def test_the_logged_epoch_is_micro_batches_over_all_unrounded(document_run: tuple[Any, Any]) -> None:
    trainer, _ = document_run
    logged = {row["step"]: row["epoch"] for row in rows_of(trainer)}
    assert logged[100] == 200 / 313
    # Each epoch's last group holds one micro-batch: from the second epoch on, step x 2 / 313 is one too many.
    assert logged[200] == 1 + 2 * (200 - 157) / 313
    assert logged[400] == 2 + 2 * (400 - 314) / 313
    assert [round(epoch, 2) for epoch in logged.values()] == [0.64, 1.27, 1.91, 2.55]
    assert trainer.state.epoch == 3.0  # the document's 2.99 comes from leaving the last micro-batch out


def test_the_logged_rate_is_that_of_the_update_not_of_the_next(document_run: tuple[Any, Any]) -> None:
    trainer, _ = document_run
    rates = [row["learning_rate"] for row in rows_of(trainer)]
    expected = [3e-5 * (step - 1) / 500 for step in (100, 200, 300, 400)]  # 5.94e-6 at step 100; the document's: 6e-6
    assert rates == pytest.approx(expected, rel=1e-12)
    schedule = schedules.Linear(total_steps=471, warmup_steps=500)
    assert rates == pytest.approx([3e-5 * schedule(step - 1) for step in (100, 200, 300, 400)], rel=1e-12)


def test_the_first_update_of_a_warm_up_has_rate_0_in_both() -> None:
    runs = compare(distilbert, reviews(12), FitConfig(), AdamWSettings(warmup_steps=2))
    assert runs.fit.rates[0] == runs.trainer.rates[0] == 0.0


def test_the_logged_loss_is_the_mean_of_the_updates_since_the_last_row_unrounded(tmp_path: Path) -> None:
    config = FitConfig(epochs=2)
    each, _ = train_alone(reviews(106), config, tmp_path)
    tens, _ = train_alone(reviews(106), config, tmp_path, log_every=10)
    single = [row["loss"] for row in rows_of(each)]
    assert len(single) == 54
    expected = [np.mean(single[start : start + 10]) for start in range(0, 50, 10)]
    assert [row["loss"] for row in rows_of(tens)] == pytest.approx(expected, rel=1e-6)
    assert any(row["loss"] != round(row["loss"], 6) for row in rows_of(tens))
    # The norm and the rate of a row are those of its last update alone.
    assert [row["grad_norm"] for row in rows_of(tens)] == [row["grad_norm"] for row in rows_of(each)][9:50:10]


def test_train_loss_is_the_mean_over_every_update_of_the_run(tmp_path: Path) -> None:
    config = FitConfig(epochs=2)
    each, _ = train_alone(reviews(106), config, tmp_path)
    tens, result = train_alone(reviews(106), config, tmp_path, log_every=10)
    single = [row["loss"] for row in rows_of(each)]
    assert result.training_loss == pytest.approx(
        np.mean(single), rel=1e-6
    )  # the last 4 updates had no row of their own
    assert tens.state.log_history[-1]["train_loss"] == result.training_loss
    assert abs(result.training_loss - single[-1]) > 0.01  # so it says little about the end


def test_the_trainer_weighs_updates_equally_and_fit_weighs_reviews(tmp_path: Path) -> None:
    source, config = reviews(9), FitConfig(log_every=3)  # 4 + 4 + 1 reviews
    trainer, _ = train_alone(source, replace(config, log_every=1), tmp_path, log_every=3)
    steps = with_fit(distilbert(), source, config, FAST).losses
    row = rows_of(trainer)[0]["loss"]
    assert row == pytest.approx(sum(steps) / 3, rel=1e-6)
    assert abs(row - (4 * steps[0] + 4 * steps[1] + steps[2]) / 9) > 1e-4


def test_the_logged_norm_is_from_before_clipping(tmp_path: Path) -> None:
    seen: list[float] = []
    model = distilbert()
    trainer = build_trainer(model, reviews(8), FitConfig(clip_norm=0.01), FAST, out=str(tmp_path))
    trainer.create_optimizer()
    trainer.optimizer.register_step_pre_hook(lambda *_: seen.append(norm_of(model)))
    trainer.train()
    assert min(row["grad_norm"] for row in rows_of(trainer)) > 0.01
    assert seen == pytest.approx([0.01, 0.01], rel=1e-3)  # it was clipped, and before the step


def norm_of(model: nn.Module) -> float:
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))


def test_max_grad_norm_0_clips_nothing_and_still_logs_the_norm(tmp_path: Path) -> None:
    seen: list[float] = []
    model = distilbert()
    trainer = build_trainer(model, reviews(8), FitConfig(clip_norm=None), FAST, out=str(tmp_path))
    assert trainer.args.max_grad_norm == 0.0
    trainer.create_optimizer()
    trainer.optimizer.register_step_pre_hook(lambda *_: seen.append(norm_of(model)))
    trainer.train()
    assert [row["grad_norm"] for row in rows_of(trainer)] == pytest.approx(seen, rel=1e-5)
    assert min(seen) > 0.01


def test_the_trainer_clips_at_1_and_takes_the_fused_adamw_if_it_is_not_told(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    assert arguments.max_grad_norm == 1.0
    assert arguments.optim == "adamw_torch_fused"
    assert (arguments.weight_decay, arguments.warmup_steps, arguments.seed) == (0.0, 0, 42)
    assert arguments.logging_nan_inf_filter


def test_both_let_the_same_parameters_decay(tmp_path: Path, minilm: pretrained.Loaded) -> None:
    for model in (minilm.model, distilbert()):
        trainer = build_trainer(model, reviews(8), FitConfig(), FAST, out=str(tmp_path))
        theirs = trainer.create_optimizer().param_groups
        ours = optim.parameter_groups(AsCourseModel(model), FAST.weight_decay)
        for mine, other in zip(ours, theirs, strict=True):
            assert mine["weight_decay"] == other["weight_decay"]
            assert [id(p) for p in mine["params"]] == [id(p) for p in other["params"]]


def test_max_steps_outdoes_epochs_in_the_trainer_and_not_in_fit(tmp_path: Path) -> None:
    trainer = build_trainer(distilbert(), reviews(12), FitConfig(epochs=1), FAST, out=str(tmp_path))
    trainer.args.max_steps = 5
    trainer.train()
    assert trainer.state.global_step == 5  # 3 updates are an epoch
    assert FitConfig(epochs=1, max_steps=5).total_steps(3) == 3
    runs = compare(distilbert, reviews(12), FitConfig(epochs=1, max_steps=5), FAST)
    assert len(runs.trainer.losses) == 3
    assert len(compare(distilbert, reviews(12), FitConfig(epochs=2, max_steps=5), FAST).trainer.losses) == 5


# --- accumulation, left to the Trainer ------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulation", [2, 3])
def test_left_to_the_model_the_trainer_adds_up_the_means_of_micro_batches(accumulation: int) -> None:
    """The forward of BERT and DistilBERT takes any keyword, so the Trainer counts on it to divide; it does not."""
    source = reviews(4 * (2 * accumulation + 1))  # equal micro-batches, two full groups and a lonely one
    config, still = FitConfig(accumulation=accumulation), replace(FAST, learning_rate=0.0)
    runs = compare(distilbert, source, config, still, loss=None)
    expected = [accumulation, accumulation, 1.0]
    assert np.array(runs.trainer.losses) / np.array(runs.fit.losses) == pytest.approx(expected, rel=1e-5)
    assert np.array(runs.trainer.norms) / np.array(runs.fit.norms) == pytest.approx(expected, rel=1e-3)


def test_the_classifiers_claim_to_divide_and_do_not(tmp_path: Path, minilm: pretrained.Loaded) -> None:
    batch = next(reviews(4).epoch(0))
    for model in (minilm.model, distilbert()):
        trainer = build_trainer(model, reviews(8), FitConfig(), FAST, out=str(tmp_path), loss=None)
        assert trainer.model_accepts_loss_kwargs
        model.eval()
        told = {"input_ids": batch.inputs, "attention_mask": batch.mask.long(), "labels": batch.targets}
        with torch.no_grad():
            assert torch.equal(model(**told).loss, model(**told, num_items_in_batch=torch.tensor(8)).loss)


def test_a_model_that_does_not_claim_it_gets_the_mean_of_micro_batch_means() -> None:
    """Then the Trainer divides by the micro-batches of the group; a smaller one counts as much as a full one."""

    def honest() -> Any:
        model = distilbert()
        model.accepts_loss_kwargs = False
        return model

    still, config = replace(FAST, learning_rate=0.0), FitConfig(accumulation=2)
    even = compare(honest, reviews(20), config, still, loss=None)  # groups of 4 + 4, 4 + 4 and 4 reviews
    assert even.loss_gap <= TOLERANCE  # a group of one is divided by one, not by two
    ragged = compare(honest, reviews(5), config, still, loss=None)  # one group of 4 + 1 reviews
    first, second = compare(honest, reviews(5), FitConfig(), still).fit.losses
    assert ragged.fit.losses[0] == pytest.approx((4 * first + second) / 5, rel=1e-6)  # of reviews: right
    assert ragged.trainer.losses[0] == pytest.approx((first + second) / 2, rel=1e-6)  # of means
    assert ragged.loss_gap > 1e-3


def test_with_the_courses_loss_a_smaller_micro_batch_counts_by_its_reviews() -> None:
    runs = compare(distilbert, reviews(5), FitConfig(accumulation=2), FAST)
    whole = compare(distilbert, reviews(5, batch_size=5), FitConfig(), FAST)
    assert runs.loss_gap <= TOLERANCE
    assert relative_gap(runs.trainer.losses, whole.trainer.losses) < 1e-5  # accumulation equals one large batch


# --- generators -----------------------------------------------------------------------------------------------------


class DrawingEachEpoch:
    """Batches that draw one number from torch's generator at the start of an epoch, as a DataLoader does."""

    def __init__(self, source: ReviewBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        torch.empty((), dtype=torch.int64).random_()
        return self.source.epoch(number, start)


def test_a_data_loader_without_workers_draws_from_torchs_generator_at_each_epoch() -> None:
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        assert list(DataLoader([1, 2], batch_size=1)) == [torch.tensor([1]), torch.tensor([2])]
        after = torch.get_rng_state()
        assert not torch.equal(before, after)
        torch.set_rng_state(before)
        torch.empty((), dtype=torch.int64).random_()
        assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_trainer_with_its_own_data_loader_is_the_same_but_for_that_draw(tmp_path: Path, dropout: float) -> None:
    """Nothing of the Trainer is replaced here but the order, which is the data's own: the proof rests on no trick."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    source = reviews(22, shuffle=False, bucket=False, pad_to=12)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for batch in source.epoch(0)
        for ids, mask, label in zip(batch.inputs, batch.mask.long(), batch.targets, strict=True)
    ]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        train_sampling_strategy="sequential",
        per_device_train_batch_size=4,
        num_train_epochs=3,
        gradient_accumulation_steps=2,
        max_grad_norm=1.0,
        learning_rate=2e-3,
        weight_decay=0.01,
        warmup_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        seed=5,
    )
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(distilbert(dropout=dropout), arguments, train_dataset=rows, compute_loss_func=group_loss)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    stock = [row["loss"] for row in rows_of(trainer)]
    config, settings = FitConfig(epochs=3, accumulation=2, seed=5), replace(FAST, warmup_steps=2)
    drawing = with_fit(distilbert(dropout=dropout), DrawingEachEpoch(source), config, settings).losses
    plain = with_fit(distilbert(dropout=dropout), source, config, settings).losses
    assert relative_gap(drawing, stock) <= TOLERANCE
    assert (relative_gap(plain, stock) <= TOLERANCE) == (dropout == 0.0)


def test_comparing_leaves_every_global_generator_as_it_was() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the Trainer seeds NumPy's global generator
    torch.default_generator.manual_seed(1)
    compare(lambda: distilbert(dropout=0.1), reviews(8), FitConfig(seed=9))
    found = random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.default_generator.manual_seed(1)
    assert found == (random.random(), np.random.random(), torch.rand(()).item())  # noqa: NPY002


def test_building_a_trainer_seeds_every_generator(tmp_path: Path) -> None:
    draws = []
    for start in (1, 2):
        random.seed(start)
        np.random.seed(start)  # noqa: NPY002
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(start)
            build_trainer(distilbert(), reviews(8), FitConfig(seed=4), FAST, out=str(tmp_path))
            draws.append((random.random(), np.random.random(), torch.rand(()).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


# --- what is not a number -------------------------------------------------------------------------------------------


def test_fit_stops_at_a_loss_that_is_no_number_and_the_trainer_hides_it(tmp_path: Path) -> None:
    def spoiled() -> Any:
        model = distilbert()
        with torch.no_grad():
            model.classifier.bias[0] = torch.nan
        return model

    with pytest.raises(DivergenceError, match="step 1: the loss is nan"):
        with_fit(spoiled(), reviews(12), FitConfig(), FAST)
    trainer, result = train_alone(reviews(12), FitConfig(), tmp_path, model=spoiled())
    assert [row["loss"] for row in rows_of(trainer)] == [0.0, 0.0, 0.0]  # logging_nan_inf_filter, on by default
    assert result.training_loss == 0.0
    assert all(np.isnan(row["grad_norm"]) for row in rows_of(trainer))


# --- the adapter ----------------------------------------------------------------------------------------------------


def test_a_classifier_of_transformers_serves_as_a_model_of_the_course() -> None:
    classifier = distilbert().eval()
    model, source = AsCourseModel(classifier), reviews(10, shuffle=False)
    batch = next(source.epoch(0))
    with torch.no_grad():
        expected = classifier(input_ids=batch.inputs, attention_mask=batch.mask.long()).logits
        assert torch.equal(model(batch.inputs, batch.mask), expected)
    assert expected.shape == (4, 2)
    targets, logits = predict(model, source)
    assert (len(targets), logits.shape) == (10, (10, 2))
    figures = evaluate(model, source)
    assert figures["val_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == targets).float().mean()))
    assert all(ours is theirs for ours, theirs in zip(model.parameters(), classifier.parameters(), strict=True))


def test_padding_does_not_change_what_the_adapter_answers() -> None:
    model = AsCourseModel(distilbert()).eval()
    ids, mask = torch.tensor([[3, 4, 5]]), torch.ones(1, 3, dtype=torch.bool)
    padded, covered = torch.tensor([[3, 4, 5, 0, 0]]), torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        torch.testing.assert_close(model(padded, covered), model(ids, mask))


def test_group_loss_sums_and_divides_by_the_group_and_alone_by_its_batch() -> None:
    class Outputs:
        logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]])

    labels = torch.tensor([0, 0, 1])
    mean = torch.nn.functional.cross_entropy(Outputs.logits, labels)
    torch.testing.assert_close(group_loss(Outputs(), labels), mean)
    torch.testing.assert_close(group_loss(Outputs(), labels, torch.tensor(6)), mean / 2)
    torch.testing.assert_close(group_loss(Outputs(), labels, 3), mean)


# --- edges and errors -----------------------------------------------------------------------------------------------


def small_bert() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=16, **sizes))


@pytest.mark.parametrize("make", [small_bert, lambda: distilbert(dropout=0.3)])
def test_without_dropout_training_draws_nothing(make: Callable[[], Any]) -> None:
    model, batch = make().train(), next(reviews(4).epoch(0))
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        AsCourseModel(model)(batch.inputs, batch.mask)
        assert not torch.equal(torch.get_rng_state(), before)
        torch.set_rng_state(before)
        assert without_dropout(model) is model
        AsCourseModel(model)(batch.inputs, batch.mask)
        assert torch.equal(torch.get_rng_state(), before)


def test_relative_gap() -> None:
    assert relative_gap([1.0, 0.0], [1.0, 0.0]) == 0.0
    assert relative_gap([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert relative_gap([1e-9], [0.0]) == np.inf
    assert relative_gap([1.0, 1.0], [float("nan"), 1.0]) == np.inf
    for ours, theirs in (([], []), ([1.0], [1.0, 1.0])):
        with pytest.raises(ValueError, match="equally many steps"):
            relative_gap(ours, theirs)


def test_gaps_are_of_losses_norms_and_rates() -> None:
    mine = Steps(losses=[1.0], norms=[2.0], rates=[3.0])
    other = Steps(losses=[2.0], norms=[8.0], rates=[30.0])
    runs = TwoRuns(fit=mine, trainer=other)
    assert (runs.loss_gap, runs.norm_gap, runs.rate_gap) == (0.5, 0.75, 0.9)


def test_the_same_model_twice_is_refused() -> None:
    model = distilbert()
    with pytest.raises(ValueError, match="a new model at each call"):
        compare(lambda: model, reviews(8), FitConfig())


def test_bf16_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'fp32'"):
        with_trainer(distilbert(), reviews(8), FitConfig(precision="bf16"), FAST)


@pytest.mark.parametrize("field", ["learning_rate", "weight_decay", "warmup_steps"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"AdamWSettings\.{field}: expected a finite number, 0 or more"):
        AdamWSettings(**{field: value})  # type: ignore[arg-type]


def test_a_run_shows_nothing_and_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_alone(reviews(8), FitConfig(), tmp_path)
    compare(distilbert, reviews(8), FitConfig())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
