"""What a fine-tuning run is told, and the one place that turns it into TrainingArguments (chapter 16).

The arguments are those of transformers 5; `tests/test_finetuning_config.py` holds each against the installed signature.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.hardware import DeviceError, Hardware


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How to fine-tune.

    Args:
        epochs: passes over the training data.
        max_steps: stop after this many updates; None leaves it to epochs.
        batch_size: sequences in a micro-batch.
        eval_batch_size: sequences side by side where no gradient is kept.
        accumulation: micro-batches to an update.
        learning_rate: the peak rate.
        weight_decay: decoupled decay of AdamW, of everything but biases and norms.
        betas: decay of AdamW's first and second moment.
        schedule: "linear", "cosine" or "constant", after the warm-up.
        warmup_steps: updates in which the rate rises from 0 to its peak.
        clip_norm: largest gradient norm let through; None clips nothing.
        max_length: tokens of a text that are read, its special ones included; the rest is cut.
        group_by_length: whether texts of like length share a batch.
        freeze_body: train the new head alone.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        precision: "auto" takes bf16 where the hardware multiplies it natively; or "fp32", "bf16".
        log_every: updates between log lines.
        eval_every: updates between evaluations; None evaluates at the end of each epoch.
        save_every: updates between checkpoints; None saves when it evaluates.
        keep_checkpoints: how many checkpoints stay on disk; None keeps all.
        best_metric: the validation figure that chooses the weights to end with; None keeps the last ones.
        patience: evaluations without a better best_metric before the run stops; None never stops early.
        seed: decides the new head, the order of the data and dropout.
    """

    epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 8
    eval_batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "linear"
    warmup_steps: int = 0
    clip_norm: float | None = 1.0
    max_length: int = 256
    group_by_length: bool = False
    freeze_body: bool = False
    gradient_checkpointing: bool = False
    precision: str = "fp32"
    log_every: int = 10
    eval_every: int | None = None
    save_every: int | None = None
    keep_checkpoints: int | None = 2
    best_metric: str | None = "f1_weighted"
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "eval_batch_size", "accumulation", "log_every"):
            self._check_whole(field, least=1)
        for field in ("max_steps", "eval_every", "save_every", "keep_checkpoints", "patience"):
            self._check_whole(field, least=1, optional=True)
        self._check_whole("warmup_steps", least=0)
        self._check_whole("seed", least=0)
        for field in ("learning_rate", "weight_decay"):
            if not _is_number(value := getattr(self, field)) or value < 0:
                raise ValueError(f"{field}: expected 0 or more; got {value!r}")
        if len(self.betas) != 2 or not all(_is_number(beta) and 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two numbers from 0 to below 1; got {self.betas!r}")
        for field, allowed in (("schedule", ("linear", "cosine", "constant")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field}: expected one of {', '.join(allowed)}; got {getattr(self, field)!r}")
        if self.clip_norm is not None and (not _is_number(self.clip_norm) or self.clip_norm <= 0):
            raise ValueError(f"clip_norm: expected a norm above 0, or None; got {self.clip_norm!r}")
        if type(self.max_length) is not int or self.max_length < 3:
            raise ValueError(f"max_length: expected at least 3, two of them special tokens; got {self.max_length!r}")
        if self.patience is not None and self.best_metric is None:
            raise ValueError("patience: expected a best_metric to wait for; got None")
        if self.best_metric and self.save_every and self.save_every != self.eval_every:
            raise ValueError(
                f"save_every: expected eval_every ({self.eval_every}), or None for the same, so that the best weights "
                f"are on disk whenever they were met, or best_metric=None; got {self.save_every}"
            )

    def _check_whole(self, field: str, *, least: int, optional: bool = False) -> None:
        value = getattr(self, field)
        if not (optional and value is None) and (type(value) is not int or value < least):
            raise ValueError(
                f"{field}: expected a whole number, at least {least}{', or None' if optional else ''}; got {value!r}"
            )

    def plan(self, texts: int) -> tuple[int, int]:
        """Micro-batches an epoch, and updates in all, as transformers 5 counts them: the last of each may be smaller.

        Trainer itself would go into further epochs to reach a max_steps beyond the last one; here epochs are the limit.
        """
        micro_batches = math.ceil(texts / self.batch_size)
        steps = self.epochs * math.ceil(micro_batches / self.accumulation)
        return micro_batches, steps if self.max_steps is None else min(self.max_steps, steps)

    def uses_bf16(self, hardware: Hardware) -> bool:
        """Whether matrix products run in bf16 on that hardware."""
        return self.precision == "bf16" or (self.precision == "auto" and "bf16" in hardware.precisions)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def training_arguments(
    config: FineTuneConfig, hardware: Hardware, out: Path | None, *, evaluates: bool, bar: bool = False
) -> Any:
    """Build the `transformers.TrainingArguments` of a run.

    Args:
        config: what the run is told.
        hardware: what it computes with.
        out: where checkpoints go; None saves nothing.
        evaluates: whether there is validation data.
        bar: whether Trainer shows its progress bar and log lines.

    Raises:
        DeviceError: an accelerator other than the first is asked for, which Trainer cannot be told.
    """
    from transformers import TrainingArguments

    if hardware.device.partition(":")[2] not in ("", "0"):
        raise DeviceError(
            f"device: expected the first {hardware.kind}, the only one that Trainer can be told; got "
            f"{hardware.device!r}. Set CUDA_VISIBLE_DEVICES (or ZE_AFFINITY_MASK) to choose another"
        )
    evaluating = "no" if not evaluates else "epoch" if config.eval_every is None else "steps"
    saving = "no" if out is None else "steps" if config.save_every else evaluating if evaluates else "epoch"
    best = config.best_metric if evaluates else None
    arguments = TrainingArguments(
        output_dir=str(out or "unused"),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.eval_batch_size,
        gradient_accumulation_steps=config.accumulation,
        optim="adamw_torch_fused" if hardware.kind in ("cuda", "cpu") else "adamw_torch",
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.betas[0],
        adam_beta2=config.betas[1],
        lr_scheduler_type="constant_with_warmup" if config.schedule == "constant" else config.schedule,
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.clip_norm or 0.0,  # 0 is Trainer's word for no clipping
        bf16=config.uses_bf16(hardware),
        activation_checkpointing=config.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        train_sampling_strategy="group_by_length" if config.group_by_length else "random",
        logging_strategy="steps",
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,  # a loss that is not finite must be seen; the default shows a mean in its place
        eval_strategy=evaluating,
        eval_steps=config.eval_every,
        save_strategy=saving,
        save_steps=config.save_every or config.eval_every or 500,
        save_total_limit=config.keep_checkpoints,
        load_best_model_at_end=best is not None and out is not None,
        metric_for_best_model=best and f"eval_{best}",
        greater_is_better=best is not None and not best.startswith(("loss", "perplexity")),
        use_cpu=hardware.kind == "cpu",
        dataloader_pin_memory=hardware.kind == "cuda",
        disable_tqdm=not bar,
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
    )
    if hardware.kind == "cuda":
        arguments._n_gpu = min(1, arguments.n_gpu)  # several would be wrapped in DataParallel, another batch size
    return arguments
