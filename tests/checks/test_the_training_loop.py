import json
import math
from pathlib import Path

import pytest
import torch

from course_lib.losses import cross_entropy
from course_lib.optim import clip_grad_norm
from course_lib.training import FitConfig, count_targets, evaluate, prediction_loss

# --- the answers: the starter, the solution, and what people write instead ---


def updates_starter(reviews, batch_size, accumulation, epochs, keep_partial=True): ...


def updates_solution(n, size, group, epochs, keep=True):
    groups = math.ceil(n / size) / group
    return epochs * (math.ceil(groups) if keep else math.floor(groups))


def updates_of_the_library(n, size, group, epochs, keep=True):
    batches = math.ceil(n / size)
    return FitConfig(epochs=epochs, accumulation=group).total_steps(batches if keep else batches // group * group)


UPDATES = {
    "half a batch is still processed": lambda n, s, g, e, k: e * (math.ceil(n // s / g) if k else n // s // g),
    "does not depend on keep_partial": lambda n, s, g, e, k: e * math.ceil(n / (s * g)),
    "you dropped it": lambda n, s, g, e, k: e * (math.ceil(n / s) // g),
    "wrong way round": lambda n, s, g, e, k: updates_solution(n, s, g, e, not k),
    "into the next epoch": lambda n, s, g, e, k: (
        math.ceil(e * math.ceil(n / s) / g) if k else e * math.ceil(n / s) // g
    ),
    "those are the micro-batches": lambda n, s, g, e, k: e * math.ceil(n / s),
    "that is one epoch": lambda n, s, g, e, k: updates_solution(n, s, g, 1, k),
    "has no fraction": lambda n, s, g, e, k: e * n / (s * g),
    "is there a return": lambda n, s, g, e, k: print(end=""),
    "you gave": lambda n, s, g, e, k: 1 + updates_solution(n, s, g, e, k),
}


def measure_starter(model, batches) -> float: ...


def measuring(model, batches, *, divide="sum", mode="back", gradients=False, evaluating=True):
    """The solution, with one thing at a time done otherwise."""
    before, sums, sizes = model.training, [], []
    if evaluating:
        model.eval()
    with torch.set_grad_enabled(gradients):
        for batch in batches.epoch(0):
            sums.append(float(cross_entropy(model(batch.inputs, batch.mask), batch.targets, reduction="sum").detach()))
            sizes.append(len(batch))
    if mode != "forgotten":
        model.train(before if mode == "back" else True)
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    return {
        "sum": sum(sums) / sum(sizes),
        "means": sum(means) / len(means),
        "nothing": sum(sums),
        "twice": sum(means) / sum(sizes),
        "means, nothing": sum(means),
        "last": means[-1],
        "first": means[0],
        "batches": sum(sums) / len(sums),
        "rubbish": 1.0,
    }[divide]


def measure_solution(model, batches):
    return measuring(model, batches)


def measure_of_the_library(model, batches):
    return evaluate(model, batches)["val_loss"]


MEASURES = {
    "dropout was on": lambda m, b: measuring(m, b, evaluating=False),
    "had the weight of four": lambda m, b: measuring(m, b, divide="means"),
    "that is the sum over the ten": lambda m, b: measuring(m, b, divide="nothing"),
    "has been divided already": lambda m, b: measuring(m, b, divide="twice"),
    "did not divide": lambda m, b: measuring(m, b, divide="means, nothing"),
    "last batch alone": lambda m, b: measuring(m, b, divide="last"),
    "first batch alone": lambda m, b: measuring(m, b, divide="first"),
    "how many reviews are there": lambda m, b: measuring(m, b, divide="batches"),
    "you gave": lambda m, b: measuring(m, b, divide="rubbish"),
    "autograd kept notes": lambda m, b: measuring(m, b, gradients=True),
    "came back in eval mode": lambda m, b: measuring(m, b, mode="forgotten"),
    "went out in training mode": lambda m, b: measuring(m, b, mode="always on"),
    "never called the model": lambda m, b: 0.7,
    "is there a return": lambda m, b: print(measuring(m, b), end=""),
    "expected one number": lambda m, b: [measuring(m, b)],
}


def backward_starter(model, group): ...


def loss_of(model, batch, reduction="sum"):
    return cross_entropy(model(batch.inputs, batch.mask), batch.targets, reduction=reduction)


def divided_by(divisor):
    """An answer that divides the summed loss of each micro-batch by `divisor(batch, group)`."""

    def answer(model, group):
        total = 0.0
        for batch in group:
            loss = loss_of(model, batch) / divisor(batch, group)
            loss.backward()
            total += float(loss.detach())
        return total

    return answer


def all_targets(_, group):
    return sum(count_targets(batch) for batch in group)


backward_solution = divided_by(all_targets)


def backward_with_the_library(model, group):
    count, loss = all_targets(None, group), torch.zeros(())
    for batch in group:
        part = prediction_loss(model, batch)[0] / count
        part.backward()
        loss += part.detach()
    return loss


def backward_clearing(model, group):
    total = 0.0
    for batch in group:
        model.zero_grad()
        loss = loss_of(model, batch) / all_targets(batch, group)
        loss.backward()
        total += float(loss.detach())
    return total


def backward_overwriting(model, group):
    for batch in group:
        loss = loss_of(model, batch, "mean")
    loss.backward()
    return loss


def backward_at_the_end(model, group):
    loss = sum(loss_of(model, batch) for batch in group) / all_targets(None, group)
    loss.backward()
    return loss.detach()


def backward_with_the_last_loss(model, group):
    backward_solution(model, group)
    return loss_of(model, group[-1], "mean").detach()


BACKWARDS = {
    "the same vote": divided_by(lambda batch, group: count_targets(batch) * len(group)),
    "added up the means": divided_by(lambda batch, group: count_targets(batch)),
    "of all targets and did not divide": divided_by(lambda batch, group: 1),
    "by the number of micro-batches": divided_by(lambda batch, group: len(group)),
    "is it cleared": backward_clearing,
    "divided by its own size": backward_overwriting,
    "you counted padding": divided_by(lambda batch, group: sum(b.targets.numel() for b in group)),
    "divided by rows": divided_by(lambda batch, group: sum(len(b) for b in group)),
    "have no gradient": lambda m, g: sum(loss_of(m, b) for b in g).detach() / all_targets(None, g),
    "times as long": divided_by(lambda batch, group: 3.7),
    "you went backward once": backward_at_the_end,
    "you gave": backward_with_the_last_loss,
    "is there a return": lambda m, g: print(backward_solution(m, g), end=""),
}


def grown_starter(model, batches, optimizer, rate, step, stop): ...


def growing(
    model,
    batches,
    optimizer,
    rate,
    step,
    stop,
    *,
    train=True,
    place=None,
    epoch_of=None,
    size=2,
    late=0,
    clip=1.0,
    cut=True,
    epochs=99,
    count=1,
    fixed=False,
):
    """The solution, with one thing at a time done otherwise."""
    losses, per_epoch, first = [], math.ceil(len(batches) / size), step
    if train:
        model.train()
    while step < stop and epochs:
        epoch, done = divmod(step if place is None else place(step, first, len(losses)), per_epoch)
        start = done * size if place is None else 0
        for group in batched(batches.epoch(epoch if epoch_of is None else epoch_of, start), size):
            for settings in optimizer.param_groups:
                settings["lr"] = rate((first if fixed else step) - late)
            optimizer.zero_grad()
            losses.append(backward_solution(model, group))
            clip_grad_norm(list(model.parameters()), clip)
            optimizer.step()
            step += count
            if step == stop and cut:
                break
        epochs -= 1
    return losses


def batched(iterable, size):
    items = list(iterable)
    return [items[i : i + size] for i in range(0, len(items), size)]


def growing_single_batches(model, batches, optimizer, rate, step, stop):
    """The right place, and then each micro-batch alone."""
    model.train()
    losses, places = [], [(1, 2), (2, 0), (2, 1), (2, 2)]
    for epoch, start in places:
        for settings in optimizer.param_groups:
            settings["lr"] = rate(step)
        optimizer.zero_grad()
        losses.append(backward_solution(model, [list(batches.epoch(epoch))[start]]))
        clip_grad_norm(list(model.parameters()), 1.0)
        optimizer.step()
        step += 1
    return losses


def growing_otherwise(**otherwise):
    return lambda *arguments: growing(*arguments, **otherwise)


GROWN = {
    "wherever `step` was": growing_otherwise(place=lambda step, first, made: made),
    "where to start": growing_otherwise(place=lambda step, first, made: step),
    "in the order of epoch 0": growing_otherwise(epoch_of=0),
    "a step of its own": growing_single_batches,
    "one step late": growing_otherwise(late=1),
    "one step ahead": growing_otherwise(late=-1),
    "the rate stayed": growing_otherwise(fixed=True),
    "not clipped": growing_otherwise(clip=math.inf),
    "who switches the mode": growing_otherwise(train=False),
    "where does `step` grow": growing_otherwise(count=0),
    "it ran past": growing_otherwise(cut=False),
    "ended after": growing_otherwise(epochs=1),
    "you gave": lambda *arguments: [2 * loss for loss in growing(*arguments)],
    "never called": lambda *arguments: [0.7],
    "is there a return": lambda *arguments: print(len(growing(*arguments)), end=""),
    "expected a list": lambda *arguments: sum(growing(*arguments)),
}

CHECKPOINT = {"weights", "optimizer state", "step", "random state"}

CHECKPOINTS = {
    "no model to go on with": CHECKPOINT - {"weights"},
    "running averages": {"weights", "step"},
    "how far the schedule": {"weights", "optimizer state", "learning rate"},
    "dropout draws anew": CHECKPOINT - {"random state"},
    "gradients are cleared": CHECKPOINT | {"gradients"},
    "times the peak rate": CHECKPOINT | {"learning rate"},
    "what tells you the epoch": CHECKPOINT | {"order of the reviews"},
    "depends on a past one": CHECKPOINT | {"losses"},
    "not on the list": CHECKPOINT | {"optimizer"},
    "expected a set": "weights",
}

EXERCISES = {
    "updates": (updates_starter, [updates_solution, updates_of_the_library], UPDATES),
    "measure": (measure_starter, [measure_solution, measure_of_the_library], MEASURES),
    "backward_group": (backward_starter, [backward_solution, backward_with_the_library], BACKWARDS),
    "grown": (grown_starter, [growing], GROWN),
    "must_be_saved": (..., [CHECKPOINT, sorted(CHECKPOINT)], CHECKPOINTS),
}


def quiz() -> list[dict]:
    return json.loads(
        (Path(__file__).parents[2] / "notebooks" / "quiz" / "06_the_training_loop.json").read_text(encoding="utf-8")
    )


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    assert right == pytest.approx([updates_solution(1000, 16, 4, 1), (30 + 90) / (10 + 90)])
