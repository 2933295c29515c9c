"""The command line: `python -m course_lib hardware | recipes | run | predict` (the page "How to use").

A mistake in what was typed exits with 2 and one line that says what there is; a run that fails exits with 1 and one
line that says what to try. No traceback reaches a person. Torch is imported by the command that needs it, not at the
start.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from course_lib.recipes import Settings
    from course_lib.training import RunState

app = typer.Typer(
    name="course_lib",
    help="Train the course's systems, and see what they need.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="cuda, cuda:1, mps, xpu or cpu; the best there is if not given.")
]


def _say(line: str = "") -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(line)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn every error that a person can cause into one line and an exit code."""
    from course_lib.checkpoints import CheckpointError
    from course_lib.data import DataError
    from course_lib.files import OutputError
    from course_lib.hardware import DeviceError
    from course_lib.pretrained import PretrainedError
    from course_lib.recipes import RecipeError
    from course_lib.training import DivergenceError

    try:
        yield
    except (RecipeError, DeviceError, OutputError, CheckpointError, PretrainedError) as error:
        _fail(error, code=2)
    except (DataError, DivergenceError) as error:
        _fail(error, code=1)
    except KeyboardInterrupt:
        _fail("interrupted; what the last checkpoint holds is whole", code=130)


def _fail(error: object, code: int) -> None:
    if isinstance(error, OSError) and error.filename:
        error = f"{error.filename}: {error.strerror}"
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)
    raise typer.Exit(code)


@app.command()
def hardware(device: DeviceOption = None, as_json: JsonOption = False) -> None:
    """Show what this machine computes with."""
    with _clear_errors():
        from course_lib.hardware import available, detect

        found = detect(device)
        facts: dict[str, Any] = {**found.to_dict(), "available": available()}
        if as_json:
            typer.echo(json.dumps(facts, indent=1))
            return
        table = Table("what", "this machine", title="Hardware")
        gigabytes = f"{found.memory_bytes / 2**30:.1f} GiB"
        for name, value in facts.items():
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            table.add_row(name.removesuffix("_bytes").replace("_", " "), gigabytes if name == "memory_bytes" else shown)
        Console(highlight=False).print(table)


@app.command()
def recipes(device: DeviceOption = None, as_json: JsonOption = False) -> None:
    """List what can be trained, with its settings and how long it will take here."""
    with _clear_errors():
        from course_lib.hardware import detect
        from course_lib.recipes import RECIPES, duration, forecast

        machine = detect(device)
        rows = []
        for recipe in RECIPES.values():
            for scale, settings in recipe.scales.items():
                expected = forecast(recipe, settings, machine)
                rows.append((recipe, scale, settings, expected))
        if as_json:
            from dataclasses import asdict

            listed = [
                {
                    "name": recipe.name,
                    "scale": scale,
                    "source": recipe.source,
                    "title": recipe.title,
                    "variations": recipe.variations,
                    "steps": expected.steps,
                    "forecast_seconds": round(expected.seconds, 1),
                    "settings": asdict(settings),
                }
                for recipe, scale, settings, expected in rows
            ]
            typer.echo(json.dumps(listed, indent=1))
            return
        table = Table(
            "recipe", "scale", "steps", "about", "settings", title=f"Recipes, on {machine.name} ({machine.device})"
        )
        for recipe, scale, settings, expected in rows:
            table.add_row(recipe.name, scale, f"{expected.steps:,}", duration(expected.seconds), _in_words(settings))
        console = Console(highlight=False)
        console.print(table)
        for recipe in RECIPES.values():
            varied = f"; variations: {', '.join(recipe.variations)}" if recipe.variations else ""
            console.print(f"{recipe.name}: {recipe.title} (source: {recipe.source}{varied})")
        console.print("Pocket scale needs no network; full scale loads its data from the Hugging Face hub.")


def _in_words(settings: "Settings") -> str:
    shown = (
        "source",
        "checkpoint",
        "batch_size",
        "optimizer",
        "learning_rate",
        "schedule",
        "warmup_steps",
        "d_model",
        "n_layers",
    )
    return ", ".join(f"{name}={getattr(settings, name)}" for name in shown if hasattr(settings, name))


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="The recipe's name; `recipes` lists them.")],
    scale: Annotated[str, typer.Option(help="pocket (offline, minutes) or full (the document's run).")] = "pocket",
    out: Annotated[Path | None, typer.Option(help="Folder for the run's files; runs/NAME-SCALE if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights, order of data and dropout.")] = 0,
    max_steps: Annotated[int | None, typer.Option(help="Stop after this many updates.")] = None,
    device: DeviceOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    variation: Annotated[str | None, typer.Option(help="A named change of the recipe; `recipes` lists them.")] = None,
    allow_single_class: Annotated[
        bool, typer.Option("--allow-single-class", help="Fine-tune even if all training reviews have one label.")
    ] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting.")] = None,
) -> None:
    """Train one recipe and leave its record, curve, checkpoint and weights in a folder."""
    with _clear_errors():
        from course_lib.hardware import detect
        from course_lib.recipes import RecipeError, duration, find, parse_changes
        from course_lib.recipes import run as run_recipe

        requested = parse_changes(changes or [])
        if max_steps is not None:
            requested["max_steps"] = str(max_steps)
        if allow_single_class:
            requested["allow_single_class"] = "true"
        if not 0 <= seed < 2**32:
            raise RecipeError(f"--seed: expected 0 to 2**32 - 1; got {seed}")
        chosen, settings = find(recipe, scale, requested, variation)
        machine = detect(device)
        name = "-".join(part for part in (recipe, scale, variation) if part)
        folder = out or _folder(name, resume)
        with _stop_at_a_step() as on_step:
            outcome = run_recipe(
                chosen,
                settings,
                scale=scale,
                hardware=machine,
                out=folder,
                seed=seed,
                resume=resume,
                on_step=on_step,
                tell=_say,
            )
        ended, seconds = outcome.record.run["ended"], outcome.record.run["seconds"]
        _say(f"{ended}, after {duration(seconds)}, {len(outcome.record)} rows in {folder / 'training_metrics.json'}")
        for sentence in outcome.words:
            _say(sentence)
        if not outcome.finished:
            given = "".join(f" --set {pair}" for pair in changes or [])
            given += "" if max_steps is None else f" --max-steps {max_steps}"
            given += "" if variation is None else f" --variation {variation}"
            given += " --allow-single-class" if allow_single_class else ""
            again = f"python -m course_lib run {recipe} --scale {scale} --seed {seed}{given} --out {folder} --resume"
            _say(f"go on with: {again}")
            raise typer.Exit(130)


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run of a classifier.")],
    text: Annotated[str | None, typer.Argument(help="What to judge; without it, each line of standard input.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which label a trained classifier gives a text, and how sure it is."""
    with _clear_errors():
        from course_lib.finetuning.predict import load_saved
        from course_lib.recipes import RecipeError

        texts = [text] if text is not None else [line.rstrip("\r\n") for line in typer.get_text_stream("stdin")]
        texts = [line for line in texts if line.strip()] if text is None else texts
        if not texts:
            raise RecipeError("predict: expected a text, or lines on standard input; got none")
        classifier = load_saved(folder)
        try:
            answers = classifier.predict(texts)
        except ValueError as error:
            raise RecipeError(f"predict: {error}") from error
        if as_json:
            rows = [{"text": line, **answer._asdict()} for line, answer in zip(texts, answers, strict=True)]
            typer.echo(json.dumps(rows if text is None else rows[0], indent=1, ensure_ascii=False))
            return
        for line, answer in zip(texts, answers, strict=True):
            said = f"{answer.name} ({answer.label}), probability {answer.probability:.3f}"
            if answer.cut:
                said += f"; cut: only the first part of its {answer.tokens} tokens was read"
            _say(said if text is not None else f"{said}: {line[:60]}")


def _folder(name: str, resume: bool) -> Path:
    """The folder of a run that names none: a fresh one, or the newest to go on with."""
    base = Path("runs")
    taken = [base / name, *(base / f"{name}-{number}" for number in range(2, 10_000))]
    free = next(path for path in taken if not path.exists())
    return taken[max(0, taken.index(free) - 1)] if resume else free


@contextmanager
def _stop_at_a_step() -> "Iterator[Callable[[RunState], None]]":
    """Let Ctrl-C end the run after the update in progress, with a checkpoint; a second Ctrl-C ends it at once."""
    from course_lib.training import StopTraining

    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        typer.echo("\nstopping after this update; press Ctrl-C again to stop at once", err=True)

    def on_step(state: "RunState") -> None:
        if asked:
            raise StopTraining("Ctrl-C")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield on_step
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line."""
    app()
