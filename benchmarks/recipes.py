"""Run every recipe at pocket scale as a person would, and print the table of the README.

    python benchmarks/recipes.py
    python benchmarks/recipes.py --seed 1 --json recipes.json

Each recipe runs in a process of its own. Peak memory is the largest resident size of that process, torch and the data
included. Tokens a second are those of the whole training, evaluations included: the time is the record's own. The
forecast is the one printed before the run, or after its first updates; its ratio to the time taken (target: within 15%
of 1) is what to trust it with.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import arguments, show

from course_lib.models import count_parameters
from course_lib.recipes import RECIPES, Recipe
from course_lib.run_record import RunRecord


def measure(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Run one recipe and read what it cost."""
    work = recipe.workload(recipe.scales["pocket"])
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / recipe.name
        line = [sys.executable, "-m", "course_lib", "run", recipe.name, "--seed", str(seed), "--out", str(folder)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{' '.join(line)} ended with status {status}:\n{said}")
        record = RunRecord.load(folder)
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    seconds = record.run["seconds"]
    expected = record.run["forecast_seconds"]
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return {
        "parameters": f"{count_parameters(work.model):,}",
        "steps": record["steps"][-1],
        "seconds": round(seconds),
        "tokens a second": round(work.train_sequences * work.tokens / seconds),
        "peak memory (MiB)": round(kilobytes / 1024),
        "forecast / taken": round(expected / seconds, 2),
        "result": result["says"][0],
    }


def main() -> None:
    options = arguments(__doc__, seed=0)
    rows = {name: measure(recipe, options.seed) for name, recipe in RECIPES.items()}
    says = [f"{name}: {row.pop('result')}" for name, row in rows.items()]
    show("recipes at pocket scale", rows, says, options.json)


if __name__ == "__main__":
    main()
