"""`RunRecord`: the one record of a run, and the three files it keeps up to date (chapter 12).

    training_metrics.json   the numbers, in the schema of the fourth source document
    training_curve.png      loss above, learning rate below on a log scale
    loss_by_epoch.png       mean loss of each epoch

A row is written at a logging step. Its train_loss is the mean over the steps since the row before, so a row's value
belongs to a window and not to a moment. val_loss is null where nothing was evaluated.
"""

import json
import math
import time
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from course_lib.files import replacing, write_text

METRICS_FILE = "training_metrics.json"
CURVE_FILE = "training_curve.png"
EPOCHS_FILE = "loss_by_epoch.png"
COLUMNS = ("train_loss", "val_loss", "learning_rate", "epochs", "steps")
"""The five keys of the schema; other columns and the key "run" may stand beside them."""

DRAWING_SHARE = 0.005
"""At most this share of a run's time goes into redrawing its pictures while it runs."""


class RecordError(ValueError):
    """A record that cannot be read, or a row that does not fit it."""


class RunRecord:
    """The rows of one run and what is known about it.

    Args:
        run: What another person needs to repeat the run: seed, settings, hardware, versions, script. Free keys.
    """

    def __init__(self, run: dict[str, Any] | None = None) -> None:
        self.run: dict[str, Any] = dict(run or {})
        self.columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self._next_drawing = 0.0

    def __len__(self) -> int:
        return len(self.columns["steps"])

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]

    def log(
        self, *, step: int, epoch: int, train_loss: float | None, learning_rate: float, **more: float | None
    ) -> None:
        """Add one row.

        Args:
            step: Updates done so far; must grow from row to row.
            epoch: The epoch that the last of these updates belongs to, from 0.
            train_loss: Mean loss over the steps since the row before, in nats.
            learning_rate: Rate of the last update.
            more: val_loss and any further column. A column that is new gets null in the rows before.

        Raises:
            RecordError: The step does not grow.
        """
        if len(self) and step <= self["steps"][-1]:
            raise RecordError(f"step: expected more than {self['steps'][-1]}, the last one logged, got {step}.")
        row = {"train_loss": train_loss, "learning_rate": learning_rate, "epochs": epoch, "steps": step, **more}
        for name in row.keys() - self.columns.keys():
            self.columns[name] = [None] * len(self)
        for name, values in self.columns.items():
            values.append(_for_json(row.get(name)))

    def evaluated(self) -> list[tuple[int, float]]:
        """The steps at which validation loss was measured, with it."""
        return [(s, v) for s, v in zip(self["steps"], self["val_loss"], strict=True) if v is not None]

    def epoch_means(self, column: str = "train_loss") -> dict[int, float]:
        """Mean of a column in each epoch, each row weighted by the steps its window covers.

        A row that holds nothing but an evaluation, as Trainer's runs have them, leaves the window open.
        """
        totals: dict[int, list[float]] = {}
        before = 0
        rows = zip(self["epochs"], self["steps"], self[column], self["val_loss"], strict=True)
        for epoch, step, value, evaluated in rows:
            if value is not None:
                total = totals.setdefault(epoch, [0.0, 0.0])
                total[0] += value * (step - before)
                total[1] += step - before
            elif evaluated is not None:
                continue
            before = step
        return {epoch: total / weight for epoch, (total, weight) in totals.items()}

    def to_dict(self) -> dict[str, Any]:
        """The record as it stands in training_metrics.json."""
        return {**self.columns, "run": _for_json(self.run)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "RunRecord":
        """Rebuild a record from its JSON form.

        Raises:
            RecordError: A column of the schema is missing, is no list, or differs in length from the others.
        """
        if not isinstance(content, dict):
            raise RecordError(
                f"expected a JSON object with the keys {', '.join(COLUMNS)}, got {type(content).__name__}."
            )
        if not isinstance(content.get("run", {}), dict):
            raise RecordError(f"expected a JSON object under run, got {type(content['run']).__name__}.")
        record = cls(content.get("run"))
        columns = {name: values for name, values in content.items() if isinstance(values, list)}
        missing = [name for name in COLUMNS if name not in columns]
        if missing:
            raise RecordError(f"expected a list under each of {', '.join(COLUMNS)}, missing: {', '.join(missing)}.")
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise RecordError(f"expected columns of one length, got {lengths}.")
        record.columns = {name: list(values) for name, values in columns.items()}
        return record

    @classmethod
    def load(cls, path: Path | str) -> "RunRecord":
        """Read training_metrics.json, or the one in a run's folder.

        Raises:
            RecordError: The file is missing, is not JSON or does not have the schema; the message names it.
        """
        path = Path(path)
        path = path / METRICS_FILE if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise RecordError(f"{path}: no such file; a run writes it into its output folder.") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RecordError(f"{path}: expected JSON, {error}.") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error

    def save(self, folder: Path | str, *, pictures: bool = True) -> None:
        """Write the three files, each replaced in one step.

        Args:
            folder: Where the run keeps its files; must exist.
            pictures: Whether to draw both pictures too.

        Raises:
            OutputError: The folder cannot be written or the disk is full.
        """
        folder = Path(folder)
        write_text(folder / METRICS_FILE, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        if pictures and len(self):
            for name, draw in ((CURVE_FILE, training_curve), (EPOCHS_FILE, loss_by_epoch)):
                with replacing(folder / name) as temporary:
                    draw(self).savefig(temporary, format="png", dpi=120)

    def refresh(self, folder: Path | str) -> None:
        """Save while the run goes on: the numbers each time, the pictures so that they cost next to nothing."""
        started = time.monotonic()
        draw = started >= self._next_drawing
        self.save(folder, pictures=draw)
        if draw:
            finished = time.monotonic()
            self._next_drawing = finished + (finished - started) / DRAWING_SHARE


def _for_json(value: Any) -> Any:
    """The value in JSON's types: null where a number is not finite, text where JSON has no word for it."""
    if isinstance(value, dict):
        return {str(key): _for_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):  # NumPy's numbers too
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def _figure(rows: int) -> tuple["Figure", list["Axes"]]:
    """A figure that no window or notebook knows of, so that drawing it from a running loop disturbs nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2 * rows), layout="constrained")
    axes = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _measured(record: RunRecord, column: str) -> tuple[list[int], list[float]]:
    rows = [(step, value) for step, value in zip(record["steps"], record[column], strict=True) if value is not None]
    return [step for step, _ in rows], [value for _, value in rows]


def training_curve(record: RunRecord) -> "Figure":
    """Loss against the step above, learning rate on a log scale below."""
    figure, (loss, rate) = _figure(2)
    loss.plot(*_measured(record, "train_loss"), color="#1f6fb4", lw=1.5, label="training (mean since the point before)")
    if record.evaluated():
        loss.plot(
            *zip(*record.evaluated(), strict=True),
            color="#c44e1c",
            lw=1.5,
            marker="o",
            ms=4,
            ls="--",
            label="validation",
        )
    loss.set(xlabel="step (updates)", ylabel="loss (nats)")
    loss.legend(frameon=False)
    steps, rates = _measured(record, "learning_rate")
    rate.plot(steps, rates, color="#2a7d4f", lw=1.5)
    if any(value > 0 for value in rates):
        rate.set_yscale("log")  # a rate of exactly 0 has no place on a log scale and leaves a gap
    rate.set(xlabel="step (updates)", ylabel="learning rate")
    return figure


def loss_by_epoch(record: RunRecord) -> "Figure":
    """One point an epoch: the mean training loss, and the last validation loss measured in it."""
    figure, (ax,) = _figure(1)
    means = record.epoch_means()
    ax.plot(list(means.keys()), list(means.values()), color="#1f6fb4", marker="s", label="training, mean of the epoch")
    last = {e: v for e, v in zip(record["epochs"], record["val_loss"], strict=True) if v is not None}
    if last:
        ax.plot(
            list(last.keys()),
            list(last.values()),
            color="#c44e1c",
            marker="o",
            ls="--",
            label="validation, last of the epoch",
        )
    ax.set(
        xlabel="epoch (from 0)",
        ylabel="loss (nats)",
        xticks=sorted({*means, *last}) if len(means) <= 20 else ax.get_xticks(),
    )
    ax.legend(frameon=False)
    return figure
