"""Time one optimizer step of the course's AdamW beside torch's, on the parameters of the course's encoder.

    python benchmarks/optimizers.py
    python benchmarks/optimizers.py --rounds 40 --json optimizers.json

Target: `course_lib.optim.AdamW` takes at most 1.15 times as long as `torch.optim.AdamW` as it comes on a CPU (foreach
and fused left at None, which is one tensor after another there).

All variants take turns within one run, each round in another order, so that what else the machine does falls on all of
them. A number is the median over rounds; the ratios are what can be compared between machines. Every variant starts
from the same weights and sees the same gradients, and the largest difference at the end shows that the work was equal.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from side_by_side import arguments, met, show, summary, take_turns

from course_lib import optim
from course_lib.models import EncoderConfig, TransformerClassifier

TARGET = 1.15
BASELINE = "torch, default"
SETTINGS: dict[str, Any] = {"lr": 1e-4, "weight_decay": 0.01}
VARIANTS: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "ours": lambda parameters: optim.AdamW(parameters, **SETTINGS),
    BASELINE: lambda parameters: torch.optim.AdamW(parameters, **SETTINGS),
    "torch, foreach": lambda parameters: torch.optim.AdamW(parameters, **SETTINGS, foreach=True),
    "ours, fused": lambda parameters: optim.AdamW(parameters, **SETTINGS, fused=True),
    "torch, fused": lambda parameters: torch.optim.AdamW(parameters, **SETTINGS, fused=True),
}


def make_optimizers() -> dict[str, torch.optim.Optimizer]:
    """Give each variant its own copy of the encoder's weights and of one set of seeded gradients."""
    torch.manual_seed(0)
    model = TransformerClassifier(EncoderConfig())
    gradients = [0.01 * torch.randn_like(parameter) for parameter in model.parameters()]
    optimizers = {}
    for name, make in VARIANTS.items():
        parameters = list(copy.deepcopy(model).parameters())  # deepcopy drops .grad, and a step without it does nothing
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizers[name] = make(parameters)
    return optimizers


def steps_of(optimizer: torch.optim.Optimizer, steps: int) -> Callable[[], None]:
    """One turn of a variant."""

    def turn() -> None:
        for _ in range(steps):
            optimizer.step()

    return turn


def largest_difference(optimizers: dict[str, torch.optim.Optimizer]) -> float:
    """Return how far any weight of any variant is from the baseline's, after equally many steps."""
    weights = {name: optimizer.param_groups[0]["params"] for name, optimizer in optimizers.items()}
    return max(
        float((mine - other).detach().abs().max())
        for name in weights
        for mine, other in zip(weights[name], weights[BASELINE], strict=True)
    )


def check_work(optimizers: dict[str, torch.optim.Optimizer], updates: int) -> None:
    """Refuse a comparison in which a variant did not update every tensor in every step."""
    tensors = optimizers[BASELINE].param_groups[0]["params"]
    for name, optimizer in optimizers.items():
        counts = {int(state["step"]) for state in optimizer.state.values()}
        if len(optimizer.state) != len(tensors) or counts != {updates}:
            raise RuntimeError(f"{name}: expected {updates} updates of each tensor, got {counts or 'none'}")


def main() -> None:
    options = arguments(__doc__, rounds=20, steps=3)
    optimizers = make_optimizers()
    turns = {name: steps_of(optimizer, options.steps) for name, optimizer in optimizers.items()}
    rows = summary(take_turns(turns, options.rounds), BASELINE)
    check_work(optimizers, (options.rounds + 1) * options.steps)
    parameters = optimizers[BASELINE].param_groups[0]["params"]
    title = (
        f"{options.steps} AdamW steps, {sum(p.numel() for p in parameters):,} parameters in {len(parameters)} tensors"
    )
    ratio = rows["ours"]["ratio"]
    verdicts = [
        f"ours takes {ratio:.2f} times as long as {BASELINE} (target {TARGET}: {met(ratio <= TARGET)})",
        f"ours, fused takes {rows['ours, fused']['ratio']:.2f} times as long",
        f"largest difference between weights at the end: {largest_difference(optimizers):.1e}",
    ]
    show(title, rows, verdicts, options.json)


if __name__ == "__main__":
    main()
