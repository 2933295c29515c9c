"""Carry out one recipe: build, look, train, judge, and leave a folder that says how it was made."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import course_lib
from course_lib.checkpoints import CHECKPOINT_FILE
from course_lib.files import OutputError, writable_folder, write_text
from course_lib.hardware import Hardware, seed_everything
from course_lib.recipes.forecast import duration, forecast
from course_lib.recipes.settings import RecipeError, Settings
from course_lib.recipes.system import Recipe
from course_lib.run_record import METRICS_FILE, RunRecord
from course_lib.training import RunState, fit

SETTINGS_FILE = "run.json"
RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        record: The record of the run.
        figures: Final figures.
        words: What they say, in sentences.
        finished: Whether the run went to its end; a stopped one can be resumed.
    """

    record: RunRecord
    figures: dict[str, Any]
    words: list[str]
    finished: bool


def run(
    recipe: Recipe,
    settings: Settings,
    *,
    scale: str,
    hardware: Hardware,
    out: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    on_step: Callable[[RunState], None] | None = None,
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
    """
    description = describe(recipe, settings, scale, hardware, seed)
    if out is not None:
        _claim_folder(out, description, resume)
    tell(f"{recipe.name} ({scale}): {recipe.title}")
    tell(f"on {hardware.name} ({hardware.device}), seed {seed}{f', into {out}' if out else ''}")
    expected = forecast(recipe, settings, hardware)
    tell(f"about {duration(expected.seconds)} for {expected.steps:,} updates, from timing a few")
    seed_everything(seed)
    system = recipe.build(settings, seed)
    for fact in system.facts:
        tell(fact)
    model = system.model.to(hardware.device)
    if (before := system.look()) and not resume:
        tell(f"before training:\n{before}\n")
    config = settings.fit_config(hardware.precisions, seed)
    steps = config.total_steps(len(system.train))
    _tell_if_warmup_outlives(settings, steps, tell)
    if out is not None:
        system.save(out)
    record = fit(
        model,
        system.train,
        settings.make_optimizer(model),
        settings.make_schedule(steps),
        config,
        evaluate=system.evaluate,
        out=out,
        resume=resume,
        on_step=on_step,
        progress=progress,
        run=description,
    )
    finished = record.run["ended"].startswith(("finished", "stopped early"))
    if after := system.look():
        tell(f"after training:\n{after}\n")
    figures, words = system.report(model)
    if out is not None:
        _write_result(out, figures, words, record)
    return Outcome(record=record, figures=figures, words=words, finished=finished)


def _tell_if_warmup_outlives(settings: Settings, steps: int, tell: Callable[[str], None]) -> None:
    if 0 < steps <= settings.warmup_steps:
        tell(
            f"warning: the warm-up of {settings.warmup_steps} updates outlives the run of {steps}: the rate never "
            f"reaches {settings.learning_rate:g}. Mend it with --set warmup_steps={steps // 10}."
        )


def _write_result(out: Path, figures: dict[str, Any], words: list[str], record: RunRecord) -> None:
    result = {"figures": figures, "says": words, "ended": record.run["ended"], "run": record.run}
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
