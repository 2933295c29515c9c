"""Run one recipe: claim a folder, say what is about to happen, have it carried out, and keep what it came to."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

import course_lib
from course_lib.checkpoints import CHECKPOINT_FILE
from course_lib.files import OutputError, writable_folder, write_text
from course_lib.hardware import Hardware
from course_lib.recipes.settings import RecipeError, Settings
from course_lib.recipes.system import Job, Outcome, Recipe
from course_lib.run_record import METRICS_FILE

SETTINGS_FILE = "run.json"
RESULT_FILE = "result.json"


def run(
    recipe: Recipe,
    settings: Settings,
    *,
    scale: str,
    hardware: Hardware,
    out: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    on_step: Callable[[Any], None] | None = None,
    progress: bool = True,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run a recipe.

    Args:
        recipe: What to run.
        settings: How.
        scale: The name of the scale the settings began as, for the record.
        hardware: What to compute with.
        out: Folder for the files of the run; None writes none.
        seed: Decides the initial weights, the order of the data and dropout.
        resume: Go on from the checkpoint in `out`.
        on_step: Called after each update; may raise StopTraining.
        progress: Whether to show a progress bar.
        tell: Takes each line for the person who waits.

    Returns:
        The record, the final figures and what they say.

    Raises:
        RecipeError: The settings do not fit the data, or `resume` meets a folder of another run.
        DataError: The data cannot be read.
        OutputError: The folder cannot be written or already holds a run.
        CheckpointError: There is no usable checkpoint.
        DivergenceError: The loss became NaN or infinite.
        PretrainedError: A checkpoint is missing, damaged or made for other labels.
    """
    description = describe(recipe, settings, scale, hardware, seed)
    if out is not None:
        _claim_folder(out, description, resume)
    tell(f"{recipe.name} ({scale}): {recipe.title}")
    tell(f"on {hardware.name} ({hardware.device}), seed {seed}{f', into {out}' if out else ''}")
    outcome = recipe.carry_out(
        Job(
            recipe=recipe,
            settings=settings,
            hardware=hardware,
            out=out,
            seed=seed,
            resume=resume,
            on_step=on_step,
            progress=progress,
            tell=tell,
            description=description,
        )
    )
    if out is not None:
        _write_result(out, outcome)
    return outcome


def _write_result(out: Path, outcome: Outcome) -> None:
    run = outcome.record.run
    result = {"figures": outcome.figures, "says": outcome.words, "ended": run["ended"], "run": run}
    write_text(out / RESULT_FILE, json.dumps(result, indent=1) + "\n")


def describe(recipe: Recipe, settings: Settings, scale: str, hardware: Hardware, seed: int) -> dict[str, Any]:
    """What another person needs to repeat the run."""
    return {
        "recipe": recipe.name,
        "scale": scale,
        "seed": seed,
        "settings": json.loads(json.dumps(asdict(settings))),  # tuples become lists, as they come back from a file
        "script": f"python -m course_lib run {recipe.name} --scale {scale} --seed {seed}",
        "hardware": hardware.to_dict() | {"precisions": list(hardware.precisions)},
        "versions": {
            "course_lib": course_lib.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "transformers": metadata.version("transformers"),
        },
    }


def _claim_folder(out: Path, description: dict[str, Any], resume: bool) -> None:
    """Take a folder for this run, or find the run to go on with, before anything long is started."""
    writable_folder(out)
    if not resume:
        if (out / METRICS_FILE).exists() or (out / CHECKPOINT_FILE).exists():
            raise OutputError(
                0, "already holds a run, which is kept; go on with --resume, or choose another --out", str(out)
            )
        write_text(out / SETTINGS_FILE, json.dumps(description, indent=1) + "\n")
        return
    path = out / SETTINGS_FILE
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"--resume: expected a run's folder with {SETTINGS_FILE} at {out}; {error}") from error
    for key in ("recipe", "scale", "seed", "settings"):
        if earlier.get(key) != description[key]:
            raise RecipeError(
                f"--resume: {out} was made with another {key}: {_difference(earlier.get(key), description[key])}"
            )


def _difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        names = [name for name in now if earlier.get(name) != now[name]]
        return "; ".join(f"{name} {earlier.get(name)!r}, now {now[name]!r}" for name in names)
    return f"{earlier!r}, now {now!r}"
