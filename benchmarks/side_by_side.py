"""What every benchmark shares: variants take turns within one run, and only their ratios are compared.

Each round starts with another variant, so that what else the machine does falls on all of them. A number is the median
over the rounds. A benchmark prints what was compared, the medians, the ratios and its target; `--json PATH` keeps them.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from course_lib.hardware import detect


def take_turns(variants: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each variant in each round; one round before them warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for round_number in range(-1, rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            variants[name]()
            if round_number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def summary(seconds: Mapping[str, list[float]], baseline: str) -> dict[str, dict[str, float]]:
    """Median seconds of each variant, its ratio to the baseline, and the median of the ratios within each round."""
    medians = {name: median(values) for name, values in seconds.items()}
    return {
        name: {
            "seconds": medians[name],
            "ratio": median(mine / other for mine, other in zip(seconds[name], seconds[baseline], strict=True)),
        }
        for name in seconds
    }


def machine() -> dict[str, Any]:
    """The hardware and versions that a result belongs to."""
    return {**detect("cpu").to_dict(), "threads": torch.get_num_threads()}


def arguments(description: str | None, **defaults: int) -> argparse.Namespace:
    """Read the options of a benchmark: its numbers, and --json."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    return parser.parse_args()


def show(title: str, rows: Mapping[str, Mapping[str, Any]], verdicts: list[str], path: Path | None) -> None:
    """Print a table and the verdicts; keep both as JSON if a path is given."""
    here = machine()
    print(f"{title}\n{here['name']}, {here['threads']} threads, torch {here['torch_version']}\n")
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows) + 2
    print(" " * width + "".join(f"{column:>22}" for column in columns))
    for name, row in rows.items():
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
        print(f"{name:<{width}}" + "".join(f"{cell:>22}" for cell in cells))
    print()
    for verdict in verdicts:
        print(verdict)
    if path is not None:
        content = {"title": title, "rows": rows, "verdicts": verdicts, "machine": here}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def met(condition: bool) -> str:
    """The word for a target."""
    return "met" if condition else "MISSED"
