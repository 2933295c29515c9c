"""The fifth source's comparison, repeated properly: one change at a time, five seeds each (chapter 17).

MiniLM is fine-tuned on 2,000 Pocket Reviews with the document's settings, and with each of its changes alone: two
epochs, batch 8 (for as many epochs, and for as many steps), weight decay 0.05, a smaller body; beside them a larger
body, and a rate five times as high, which nobody tried. All answers on validation are kept, so that two settings can be
compared review by review.

    python -m course_lib.recorded.hyperparameters

Nearly two hours on one core with bf16 units.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from course_lib import recorded
from course_lib.data import Review, load_reviews
from course_lib.finetuning import FineTuneConfig, fine_tune_classifier
from course_lib.finetuning.predict import classifier_of
from course_lib.hardware import detect, memory_in_use, peak_memory

SEEDS = range(5)
TRAIN = 2000
"""Training reviews, so that a batch of 16 makes the document's 125 steps an epoch."""

BASE = FineTuneConfig(
    epochs=3,
    batch_size=16,
    learning_rate=2e-5,
    weight_decay=0.01,
    group_by_length=True,
    precision="auto",
    best_metric=None,
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One setting of the comparison.

    Args:
        config: what the run is told; the seed is put in.
        layers: of MiniLM's body; None leaves its six.
    """

    config: FineTuneConfig = field(default=BASE)
    layers: int | None = None


ARMS: dict[str, Arm] = {
    "base": Arm(),
    "2 epochs": Arm(config=replace(BASE, epochs=2)),
    "batch 8, equal epochs": Arm(config=replace(BASE, batch_size=8)),
    "batch 8, equal steps": Arm(config=replace(BASE, batch_size=8, max_steps=375)),
    "decay 0.05": Arm(config=replace(BASE, weight_decay=0.05)),
    "3 layers": Arm(layers=3),
    "12 layers": Arm(layers=12),
    "rate 1e-4": Arm(config=replace(BASE, learning_rate=1e-4)),
}
"""What is compared. The first one is what the others are compared with."""


def reviews() -> tuple[list[Review], list[Review]]:
    """The training reviews of every arm, and the validation reviews, in the order of the recorded answers."""
    return load_reviews("train", limit=TRAIN), load_reviews("validation")


def train(arm: Arm, seed: int) -> dict[str, Any]:
    """Train one arm with one seed.

    Returns:
        answers: a string of 0 and 1, one for each validation review; the curve of the training loss, the validation
        figures after each epoch, the updates and the seconds they took.
    """
    training, validation = reviews()
    done = fine_tune_classifier(
        training,
        validation,
        config=replace(arm.config, seed=seed),
        layers=arm.layers,
        hardware=detect("cpu"),
    )
    logits = classifier_of(done.model, done.tokenizer).logits([review.text for review in validation])
    looks = [line for line in done.log if "eval_loss" in line]
    return {
        "answers": "".join(str(label) for label in logits.argmax(dim=-1).tolist()),
        "train_loss": [float(f"{line['loss']:.4g}") for line in done.log if "loss" in line],
        "val_loss": [float(f"{line['eval_loss']:.4g}") for line in looks],
        "val_macro_f1": [float(f"{line['eval_f1_macro']:.4g}") for line in looks],
        "steps": done.record["steps"][-1],
        "seconds": round(done.seconds, 1),
    }


BODIES = ("minilm-3", "minilm", "minilm-12", "distilbert-base-uncased", "bert-base-uncased")
"""Bodies whose cost is measured. The last two have random weights of the right shapes: what they cost does not depend
on what they know. What they would score cannot be told without their weights."""

TRIAL_TOKENS, TRIAL_STEPS = 64, 6


def body(name: str) -> Any:
    """Make a classifier of that body."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
    )

    from course_lib.finetuning.classify import new_classifier

    if name == "distilbert-base-uncased":
        return DistilBertForSequenceClassification(DistilBertConfig())
    if name == "bert-base-uncased":
        return BertForSequenceClassification(BertConfig())
    _, _, layers = name.partition("-")
    return new_classifier("minilm", layers=int(layers) if layers else None).model


def cost(name: str) -> dict[str, Any]:
    """Parameters, seconds of a training step and memory of one body, in this process; run it in one of its own.

    A step is a batch of 16 reviews of 64 tokens in fp32, forward, backward and AdamW: the median of a few.
    """
    model = body(name).train()
    before = memory_in_use()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    ids = torch.randint(1000, 20_000, (BASE.batch_size, TRIAL_TOKENS), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(BASE.batch_size) % 2
    seconds = []
    for _ in range(TRIAL_STEPS):
        started = time.perf_counter()
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds_a_step": round(sorted(seconds)[TRIAL_STEPS // 2], 4),
        "training_bytes": peak_memory() - before + weights,
    }


def costs() -> dict[str, Any]:
    """Measure every body in a process of its own, so that none inherits another's peak of memory."""
    code = (
        "import json, sys; from course_lib.recorded.hyperparameters import cost; print(json.dumps(cost(sys.argv[1])))"
    )
    return {
        name: json.loads(subprocess.run([sys.executable, "-c", code, name], check=True, capture_output=True).stdout)
        for name in BODIES
    }


def main() -> None:
    """Train every arm with every seed, and write hyperparameters.json after each arm."""
    torch.set_num_threads(1)  # so that the seconds of all runs can be compared, whatever else the machine does
    content: dict[str, Any] = {"seeds": list(SEEDS), "train": TRAIN, "arms": {}, "bodies": costs()}
    for name, arm in ARMS.items():
        runs = [train(arm, seed) for seed in SEEDS]
        content["arms"][name] = {"config": asdict(arm.config), "layers": arm.layers, "runs": runs}
        recorded.save("hyperparameters", content)


if __name__ == "__main__":
    main()
