"""Time one optimizer step of the course's AdamW beside torch's, on the parameters of the course's encoder.

    python benchmarks/optimizers.py
    python benchmarks/optimizers.py --rounds 40 --json optimizers.json

Target: `course_lib.optim.AdamW` takes at most 1.15 times as long as `torch.optim.AdamW` as it comes on a CPU (foreach
and fused left at None, which is one tensor after another there).

All variants take turns within one run, each round in another order, so that what else the machine does falls on all of
them. A number is the median over rounds; the ratios are what can be compared between machines. Every variant starts
from the same weights and sees the same gradients, and the largest difference at the end shows that the work was equal.
"""

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

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


def time_rounds(optimizers: dict[str, torch.optim.Optimizer], rounds: int, steps: int) -> dict[str, list[float]]:
    """Return the seconds a step of each variant in each round; the variants take turns, each round rotated by one."""
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    names = list(optimizers)
    for round_number in range(-1, rounds):  # round -1 allocates the state and is not counted
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            for _ in range(steps):
                optimizers[name].step()
            if round_number >= 0:
                seconds[name].append((time.perf_counter() - start) / steps)
    return seconds


def largest_difference(optimizers: dict[str, torch.optim.Optimizer]) -> float:
    """Return how far any weight of any variant is from the baseline's, after equally many steps."""
    weights = {name: optimizer.param_groups[0]["params"] for name, optimizer in optimizers.items()}
    return max(
        float((mine - other).detach().abs().max())
        for name in weights
        for mine, other in zip(weights[name], weights[BASELINE], strict=True)
    )


def measure(rounds: int, steps: int) -> dict[str, Any]:
    """Run the comparison and return all that is needed to read it later."""
    optimizers = make_optimizers()
    seconds = time_rounds(optimizers, rounds, steps)
    medians = {name: median(values) for name, values in seconds.items()}
    tensors = optimizers[BASELINE].param_groups[0]["params"]
    for name, optimizer in optimizers.items():
        counts = {int(state["step"]) for state in optimizer.state.values()}
        if len(optimizer.state) != len(tensors) or counts != {(rounds + 1) * steps}:
            raise RuntimeError(
                f"{name}: expected {(rounds + 1) * steps} updates of each tensor, got {counts or 'none'}"
            )
    return {
        "what": "one AdamW step on the parameters of TransformerClassifier(EncoderConfig()), float32, CPU",
        "parameters": sum(tensor.numel() for tensor in tensors),
        "tensors": len(tensors),
        "rounds": rounds,
        "steps_per_round": steps,
        "milliseconds": {name: 1000 * value for name, value in medians.items()},
        "ratio_to_torch_default": {name: value / medians[BASELINE] for name, value in medians.items()},
        "target": {"ours": TARGET},
        "largest_difference": largest_difference(optimizers),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rounds in which each variant has one turn")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps in one turn")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.steps)
    print(f"{result['what']}: {result['parameters']:,} parameters in {result['tensors']} tensors")
    print(f"torch {result['torch']}, {result['threads']} threads, median of {result['rounds']} rounds, interleaved\n")
    print(f"{'variant':<16}{'ms a step':>12}{'ratio':>8}")
    for name, ratio in result["ratio_to_torch_default"].items():
        print(f"{name:<16}{result['milliseconds'][name]:>12.2f}{ratio:>8.2f}")
    verdict = "within" if result["ratio_to_torch_default"]["ours"] <= TARGET else "over"
    print(f"\nours is {verdict} the target of {TARGET}; largest difference between weights: ", end="")
    print(f"{result['largest_difference']:.1e}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
