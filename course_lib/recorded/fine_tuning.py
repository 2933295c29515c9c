"""The first source's run on MiniLM: as its log shows it, mended, and with a frozen body (chapter 16).

All 2,500 training reviews, batches of 8, two to an update, three epochs, peak rate 3e-5. Every arm is run with each
seed before the next seed begins, and each run is kept as soon as it is done, so an interrupted script goes on where it
stopped; `--fresh` begins again. The test answers are recorded beside those on validation and choose nothing here.

    python -m course_lib.recorded.fine_tuning

About half an hour on one core with bf16 units, and about four times as long without.

Shape legend: N reviews, B reviews in a batch, T tokens, C channels.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import metrics, recorded
from course_lib.data import Review, load_reviews
from course_lib.finetuning import FineTuneConfig, fine_tune_classifier
from course_lib.finetuning.predict import classifier_of
from course_lib.finetuning.texts import tokenize
from course_lib.hardware import detect
from course_lib.losses import cross_entropy
from course_lib.optim import AdamW, clip_grad_norm
from course_lib.pretrained import load_classifier
from course_lib.schedules import Linear

NAME = "fine_tuning"
SEEDS = (0, 1, 2)
DOCUMENT = FineTuneConfig(
    epochs=3,
    batch_size=8,
    accumulation=2,
    learning_rate=3e-5,
    weight_decay=0.01,
    warmup_steps=500,
    group_by_length=True,
    precision="auto",
    best_metric=None,
)
"""The source's settings, with the warm-up that its log proves; every run ends with its last weights."""

ARMS = {
    "warm-up 47": replace(DOCUMENT, warmup_steps=47),
    "warm-up 500": DOCUMENT,
    "frozen, 3e-5": replace(DOCUMENT, warmup_steps=47, freeze_body=True),
    "frozen, 1e-1": replace(DOCUMENT, warmup_steps=47, freeze_body=True, learning_rate=1e-1),
}
"""The mended run; the source's; and the head alone, at the same rate and at the best rate of HEAD_RATES."""

HEAD_RATES = (3e-5, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Rates at which a head alone is tried on vectors that the frozen body made once."""


def train(config: FineTuneConfig, seed: int) -> dict[str, Any]:
    """Run one arm with one seed.

    Args:
        config: What Trainer is told; the seed is put in.
        seed: Decides the head, the order of the reviews and dropout.

    Returns:
        log: [step, epoch, mean loss of the ten updates, norm of the last one's gradient, its rate] for each log line;
        looks: what was measured on validation after each epoch; validation and test: a digit for each review, the last
        weights' answer; seconds: of processor time.
    """
    held_out = load_reviews("validation")
    started = time.process_time()
    done = fine_tune_classifier(
        load_reviews("train"), held_out, config=replace(config, seed=seed), hardware=detect("cpu")
    )
    seconds = time.process_time() - started
    reads = classifier_of(done.model, done.tokenizer)

    def answers(reviews: Sequence[Review]) -> str:
        return "".join(map(str, reads.logits([review.text for review in reviews]).argmax(dim=-1).tolist()))

    lines = [line for line in done.log if "loss" in line]
    columns = ("step", "epoch", "loss", "grad_norm", "learning_rate")
    shown = ("step", "epoch", "eval_loss", "eval_accuracy", "eval_f1_weighted", "eval_f1_macro")
    return {
        "log": [[_short(line[name]) for name in columns] for line in lines],
        "looks": [{name: _short(look[name]) for name in shown} for look in done.log if "eval_loss" in look],
        "validation": answers(held_out),
        "test": answers(load_reviews("test")),
        "seconds": round(seconds, 1),
    }


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.5g}")


@torch.no_grad()
def vectors(reviews: Sequence[Review]) -> dict[str, Tensor]:
    """Read reviews once with the frozen body, without dropout.

    Returns:
        (N, C) each: "first token", what the head of the classifier reads, and "mean", the mean over all tokens, which
        is how this body was trained to be read.
    """
    loaded = load_classifier("minilm")
    rows = tokenize(reviews, loaded.tokenizer, DOCUMENT.max_length).rows
    read = {name: torch.zeros(len(rows), loaded.model.config.hidden_size) for name in ("first token", "mean")}  # (N, C)
    order = iter(sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"])))
    while picked := list(islice(order, 32)):
        texts = [{"input_ids": rows[i]["input_ids"]} for i in picked]
        batch = loaded.tokenizer.pad(texts, return_tensors="pt")
        out = loaded.model.base_model(**batch)
        mask = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
        read["first token"][picked] = out.pooler_output  # (B, C)
        read["mean"][picked] = (out.last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)  # (B, C)
    return read


def head_accuracy(train_on: Tensor, held_out: Tensor, rate: float, seed: int) -> float:
    """Train a head alone on ready vectors, for as many updates and by the same plan as the runs of Trainer.

    Args:
        train_on: (N, C), of the training reviews.
        held_out: (N, C), of the validation reviews.
        rate: Peak learning rate.
        seed: Decides the head's start and the order of the reviews.

    Returns:
        Its accuracy on validation.
    """
    labels = torch.tensor([review.label for review in load_reviews("train")])
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(train_on.shape[1], 2)
    nn.init.normal_(head.weight, std=0.02, generator=generator)  # as transformers starts one
    nn.init.zeros_(head.bias)
    optimizer = AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    size = DOCUMENT.batch_size * DOCUMENT.accumulation
    an_epoch = -(-len(labels) // size)
    plan, step = Linear(total_steps=DOCUMENT.epochs * an_epoch, warmup_steps=47), 0
    for _ in range(DOCUMENT.epochs):
        for picked in torch.randperm(len(labels), generator=generator).split(size):
            for group in optimizer.param_groups:
                group["lr"] = rate * plan(step)
            optimizer.zero_grad()
            cross_entropy(head(train_on[picked]), labels[picked]).backward()  # (B, C) -> (B, 2)
            clip_grad_norm(list(head.parameters()), 1.0)
            optimizer.step()
            step += 1
    truth = [review.label for review in load_reviews("validation")]
    return metrics.accuracy(truth, head(held_out).argmax(dim=-1))


def heads() -> dict[str, list[list[float]]]:
    """For both vectors, the validation accuracy at each of HEAD_RATES with each seed."""
    seen, unseen = vectors(load_reviews("train")), vectors(load_reviews("validation"))
    return {
        name: [[head_accuracy(seen[name], unseen[name], rate, seed) for seed in SEEDS] for rate in HEAD_RATES]
        for name in seen
    }


def best_head_rate(accuracies: list[list[float]]) -> float:
    """The rate of HEAD_RATES with the highest mean over the seeds."""
    means = [mean(row) for row in accuracies]
    return HEAD_RATES[means.index(max(means))]


def main() -> None:
    """Run what is missing, and write fine_tuning.json after each run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget what was recorded before")
    torch.set_num_threads(1)  # so that processor time is the time of the run, and a run repeats
    done: dict[str, Any] = {} if parser.parse_args().fresh or not recorded.exists(NAME) else recorded.load(NAME)
    if "heads" not in done:
        done["heads"] = {"rates": list(HEAD_RATES), **heads()}
    arms = done.setdefault("arms", {name: {"config": asdict(config), "runs": []} for name, config in ARMS.items()})
    for seed in SEEDS:
        for name, config in ARMS.items():
            if len(arms[name]["runs"]) == seed:
                arms[name]["runs"].append(train(config, seed))
                recorded.save(NAME, {key: value for key, value in done.items() if key != "made_by"})


if __name__ == "__main__":
    main()
