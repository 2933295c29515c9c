"""Tests of course_lib.finetuning.config: every field reaches Trainer, and what is wrong is refused by name."""

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from course_lib.finetuning import FineTuneConfig, training_arguments
from course_lib.hardware import DeviceError, detect

CPU = detect("cpu")


def arguments(out: Path | None = None, *, evaluates: bool = True, hardware: Any = CPU, **changes: Any) -> Any:
    return training_arguments(FineTuneConfig(**changes), hardware, out, evaluates=evaluates)


def keywords(monkeypatch: pytest.MonkeyPatch, out: Path, **changes: Any) -> dict[str, Any]:
    """The keywords that the one call passes, unread by TrainingArguments itself."""
    passed: dict[str, Any] = {}

    def note(**given: Any) -> Any:
        passed.update(given)
        return type("Noted", (), {"n_gpu": 0})()

    with monkeypatch.context() as patch:
        patch.setattr("transformers.TrainingArguments", note)
        arguments(out, **changes)
    return passed


def test_every_keyword_exists_in_the_installed_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passed = keywords(monkeypatch, tmp_path, gradient_checkpointing=True, save_every=None)
    known = inspect.signature(TrainingArguments).parameters
    assert len(passed) > 25
    assert set(passed) <= set(known)


# Of each field: another value than the default, the argument it becomes, and what that argument then is.
FIELDS: dict[str, tuple[Any, str, Any]] = {
    "epochs": (7, "num_train_epochs", 7),
    "max_steps": (11, "max_steps", 11),
    "batch_size": (5, "per_device_train_batch_size", 5),
    "eval_batch_size": (6, "per_device_eval_batch_size", 6),
    "accumulation": (4, "gradient_accumulation_steps", 4),
    "learning_rate": (1e-3, "learning_rate", 1e-3),
    "weight_decay": (0.2, "weight_decay", 0.2),
    "betas": ((0.8, 0.95), "adam_beta1", 0.8),
    "schedule": ("cosine", "lr_scheduler_type", "cosine"),
    "warmup_steps": (9, "warmup_steps", 9),
    "clip_norm": (0.5, "max_grad_norm", 0.5),
    "group_by_length": (True, "train_sampling_strategy", "group_by_length"),
    "gradient_checkpointing": (True, "activation_checkpointing", True),
    "precision": ("bf16", "bf16", True),
    "log_every": (3, "logging_steps", 3),
    "eval_every": (4, "eval_steps", 4),
    "save_every": (4, "save_steps", 4),
    "keep_checkpoints": (5, "save_total_limit", 5),
    "best_metric": ("loss", "metric_for_best_model", "eval_loss"),
    "seed": (13, "seed", 13),
}
ELSEWHERE = {"max_length", "freeze_body", "patience"}  # the tokenizer, the model and a callback are told these


def test_the_table_names_every_field() -> None:
    assert FIELDS.keys() | ELSEWHERE == {field.name for field in dataclasses.fields(FineTuneConfig)}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_reaches_trainer(field: str, tmp_path: Path) -> None:
    value, argument, expected = FIELDS[field]
    other = {"eval_every": 4} if field == "save_every" else {}
    before = arguments(tmp_path)
    after = arguments(tmp_path, **{field: value, **other})
    assert getattr(after, argument) == expected
    if field != "eval_every":
        assert getattr(before, argument) != expected, "the default would show nothing"


def test_what_stands_beside_the_fields(tmp_path: Path) -> None:
    built = arguments(tmp_path, betas=(0.8, 0.95), seed=13, gradient_checkpointing=True)
    assert (built.adam_beta1, built.adam_beta2) == (0.8, 0.95)
    assert built.data_seed == 13
    assert built.activation_checkpointing_kwargs == {"use_reentrant": False}
    assert built.output_dir == str(tmp_path)
    assert built.report_to == []
    assert built.use_cpu
    assert not built.logging_nan_inf_filter
    assert not built.dataloader_pin_memory
    assert arguments().activation_checkpointing_kwargs is None
    assert arguments(schedule="constant", warmup_steps=3).lr_scheduler_type == "constant_with_warmup"
    assert arguments(schedule="linear").lr_scheduler_type == "linear"


def test_no_clipping_is_trainers_zero() -> None:
    assert arguments(clip_norm=None).max_grad_norm == 0.0


@pytest.mark.parametrize(
    ("best", "greater"),
    [("loss", False), ("loss_per_token", False), ("perplexity_per_token", False), ("f1_macro", True)],
)
def test_a_loss_is_better_when_it_is_smaller(best: str, greater: bool, tmp_path: Path) -> None:
    built = arguments(tmp_path, best_metric=best)
    assert built.greater_is_better is greater
    assert built.metric_for_best_model == f"eval_{best}"
    assert built.load_best_model_at_end


@pytest.mark.parametrize(
    ("changes", "evaluates", "saves", "expected"),
    [
        ({}, True, True, ("epoch", "epoch", True)),
        ({}, True, False, ("epoch", "no", False)),
        ({}, False, True, ("no", "epoch", False)),
        ({}, False, False, ("no", "no", False)),
        ({"eval_every": 5}, True, True, ("steps", "steps", True)),
        ({"eval_every": 5, "save_every": 5}, True, True, ("steps", "steps", True)),
        ({"eval_every": 5}, False, True, ("no", "epoch", False)),
        ({"save_every": 10, "best_metric": None}, True, True, ("epoch", "steps", False)),
        ({"save_every": 10, "best_metric": None}, False, True, ("no", "steps", False)),
        ({"save_every": 10, "eval_every": 4, "best_metric": None}, True, True, ("steps", "steps", False)),
        ({"best_metric": None}, True, True, ("epoch", "epoch", False)),
    ],
)
def test_when_it_evaluates_and_saves(
    changes: dict[str, Any], evaluates: bool, saves: bool, expected: tuple[str, str, bool], tmp_path: Path
) -> None:
    built = arguments(tmp_path if saves else None, evaluates=evaluates, **changes)
    assert (built.eval_strategy, built.save_strategy, built.load_best_model_at_end) == expected
    if built.save_strategy == "steps":
        assert built.save_steps == changes.get("save_every", changes.get("eval_every"))
    assert (built.metric_for_best_model is not None) is (evaluates and "best_metric" not in changes)


def test_auto_precision_is_the_hardwares_choice() -> None:
    with_bf16 = dataclasses.replace(CPU, precisions=("fp32", "bf16"))
    without = dataclasses.replace(CPU, precisions=("fp32",))
    for precision, expected in (("auto", (True, False)), ("fp32", (False, False)), ("bf16", (True, True))):
        config = FineTuneConfig(precision=precision)
        assert (config.uses_bf16(with_bf16), config.uses_bf16(without)) == expected
        assert tuple(arguments(hardware=h, precision=precision).bf16 for h in (with_bf16, without)) == expected


@pytest.mark.parametrize("device", ["cuda:1", "xpu:3"])
def test_an_accelerator_that_trainer_cannot_be_told_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"got '{device}'.*CUDA_VISIBLE_DEVICES"):
        arguments(hardware=dataclasses.replace(CPU, device=device))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number, at least 1; got 0"),
        ({"epochs": None}, "epochs: expected a whole number, at least 1; got None"),
        ({"epochs": True}, "epochs: expected a whole number, at least 1; got True"),
        ({"max_steps": 0}, "max_steps: expected a whole number, at least 1, or None; got 0"),
        ({"max_steps": -1}, "max_steps: expected a whole number, at least 1, or None; got -1"),
        ({"batch_size": 0}, "batch_size: expected a whole number, at least 1; got 0"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number, at least 1; got 2.5"),
        ({"eval_batch_size": 0}, "eval_batch_size: expected a whole number, at least 1; got 0"),
        ({"accumulation": 0}, "accumulation: expected a whole number, at least 1; got 0"),
        ({"learning_rate": -1.0}, "learning_rate: expected 0 or more; got -1.0"),
        ({"learning_rate": math.nan}, "learning_rate: expected 0 or more; got nan"),
        ({"learning_rate": math.inf}, "learning_rate: expected 0 or more; got inf"),
        ({"learning_rate": "1e-3"}, "learning_rate: expected 0 or more; got '1e-3'"),
        ({"weight_decay": -0.1}, "weight_decay: expected 0 or more; got -0.1"),
        ({"betas": (0.9, 1.0)}, "betas: expected two numbers from 0 to below 1; got (0.9, 1.0)"),
        ({"betas": (0.9,)}, "betas: expected two numbers from 0 to below 1; got (0.9,)"),
        ({"schedule": "step"}, "schedule: expected one of linear, cosine, constant; got 'step'"),
        ({"warmup_steps": -1}, "warmup_steps: expected a whole number, at least 0; got -1"),
        # Trainer would take a number below 1 for a share of the run.
        ({"warmup_steps": 0.1}, "warmup_steps: expected a whole number, at least 0; got 0.1"),
        ({"clip_norm": 0.0}, "clip_norm: expected a norm above 0, or None; got 0.0"),
        ({"clip_norm": math.nan}, "clip_norm: expected a norm above 0, or None; got nan"),
        ({"max_length": 2}, "max_length: expected at least 3, two of them special tokens; got 2"),
        ({"max_length": None}, "max_length: expected at least 3, two of them special tokens; got None"),
        ({"precision": "fp16"}, "precision: expected one of auto, fp32, bf16; got 'fp16'"),
        ({"log_every": 0}, "log_every: expected a whole number, at least 1; got 0"),
        ({"eval_every": 0}, "eval_every: expected a whole number, at least 1, or None; got 0"),
        ({"save_every": 0}, "save_every: expected a whole number, at least 1, or None; got 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints: expected a whole number, at least 1, or None; got 0"),
        ({"patience": 0}, "patience: expected a whole number, at least 1, or None; got 0"),
        ({"patience": 1, "best_metric": None}, "patience: expected a best_metric to wait for; got None"),
        ({"seed": -1}, "seed: expected a whole number, at least 0; got -1"),
        ({"save_every": 10}, "save_every: expected eval_every (None)"),
        ({"save_every": 4, "eval_every": 3}, "save_every: expected eval_every (3)"),
        # A multiple is not enough: the best weights may be those of an evaluation in between.
        ({"save_every": 4, "eval_every": 2}, "save_every: expected eval_every (2)"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        FineTuneConfig(**changes)
    assert str(caught.value).startswith(message)


def test_the_config_is_frozen_and_takes_names_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FineTuneConfig().epochs = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        FineTuneConfig(4)  # type: ignore[misc]


@pytest.mark.parametrize(("max_steps", "steps"), [(None, 6), (5, 5), (6, 6), (1000, 6)])
def test_max_steps_never_adds_epochs(max_steps: int | None, steps: int) -> None:
    config = FineTuneConfig(epochs=2, batch_size=2, accumulation=2, max_steps=max_steps)
    assert config.plan(9) == (5, steps), "9 texts: 5 micro-batches, 3 updates, 2 epochs"


def test_the_installed_fused_optimizer_is_taken_on_the_cpu() -> None:
    assert arguments().optim == "adamw_torch_fused"
    assert torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], fused=True).defaults["fused"]
