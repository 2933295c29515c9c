"""`LearningRateExplorer`: real runs at 25 learning rates under one slider, and one more trained now (chapter 09)."""

from threading import Event, Thread
from typing import Any

import traitlets

from course_lib import recorded
from course_lib.recorded.rate_sweep import SEEDS, SUBJECTS, edition, train
from course_lib.training import RunState, StopTraining
from course_lib.widgets.base import CourseWidget, run


class LearningRateExplorer(CourseWidget):
    """Loss curves and held-out loss of recorded runs, rate by rate; "Train now" adds a run with a seed of its own.

    State:
        subject: "characters", "reviews" or "momentum", the runs of `course_lib.recorded.rate_sweep`.
        rate: Learning rate; the nearest recorded one is shown, and "Train now" trains at that one.
        data: The recording.
        live: The run in the kernel: subject, rate, seed, step, steps, losses (a mean of each few steps, in nats),
            held_out (nats), edition (of the manual that it reads), message and ended ("finished", "diverged",
            "canceled" or "failed"). Empty before the first one; None on a page, which has no kernel.
    """

    _name = "learning_rate_explorer"
    subject = traitlets.Unicode("characters").tag(sync=True)
    rate = traitlets.Float(1e-3).tag(sync=True)
    data = traitlets.Dict(allow_none=True).tag(sync=True)
    live = traitlets.Dict(allow_none=True).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        super().__init__(**{"data": _for_slider(recorded.load("rate_sweep")), **state})
        self._cancel = Event()
        self._thread: Thread | None = None
        self._seed = max(SEEDS)  # a run trained now gets the next one, which no recorded run has
        self.on_msg(self._hear)

    def current_state(self) -> dict[str, Any]:
        """The state of a page, where nothing can be trained."""
        return {**super().current_state(), "live": None}

    def train(self) -> None:
        """Train the chosen model at the chosen rate, in a thread, so that the notebook stays usable.

        Raises:
            ValueError: The state is one that the widget refuses, or its subject is not one that can be trained.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        problems = run(self._name, "check(state)", state=super().current_state())
        if problems:
            raise ValueError(" ".join(problems))
        if self.subject not in SUBJECTS:
            raise ValueError(f"subject: expected one of {', '.join(SUBJECTS)}; got {self.subject!r}")
        rates = self.data["subjects"][self.subject]["rates"]
        rate = rates[run(self._name, "nearest(rates, rate)", rates=rates, rate=self.rate)]
        self._seed += 1
        self._cancel.clear()
        self.live = {
            "subject": self.subject,
            "rate": rate,
            "seed": self._seed,
            "step": 0,
            "steps": SUBJECTS[self.subject].steps,
            "losses": [],
            "edition": edition(),
        }
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop the run in the kernel after its present step."""
        self._cancel.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the run in the kernel has ended; for scripts and tests."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _hear(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("do") == "train":
            try:
                self.train()
            except ValueError as error:
                self.live = {"ended": "failed", "message": str(error)}
        elif content.get("do") == "cancel":
            self.cancel()

    def _run(self) -> None:
        subject = SUBJECTS[self.live["subject"]]
        step, canceled = 0, False

        def on_step(state: RunState) -> None:
            nonlocal step, canceled
            step, canceled = state.step, self._cancel.is_set()
            if canceled:
                raise StopTraining
            if step % subject.log_every == 0:
                self.live = {**self.live, "step": step, "losses": list(state.record["train_loss"])}

        end: dict[str, Any] = {"ended": "failed", "message": "it was interrupted"}  # for what nobody expects
        try:
            left = train(subject, self.live["rate"], self.live["seed"], on_step)
            ended = "canceled" if canceled else "diverged" if left.held_out is None else "finished"
            end = {"step": step, "losses": left.losses, "held_out": left.held_out, "ended": ended}
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            # A thread has nobody above it to catch this; the widget is where a person sees it.
            end["message"] = f"{type(error).__name__}: {error}"
        finally:
            self.live = {**self.live, **end}


def _for_slider(recording: dict[str, Any]) -> dict[str, Any]:
    """The part of the recording that the widget draws."""
    return {"edition": recording["edition"], "subjects": recording["subjects"]}
