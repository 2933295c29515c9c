"""`OptimizerPlayground`: optimizers walk down a loss, together on one map (chapter 08)."""

from typing import Any

import traitlets

from course_lib import recorded
from course_lib.widgets.base import CourseWidget, run


class OptimizerPlayground(CourseWidget):
    """The paths of SGD, Momentum, RMSProp, Adam and AdamW on the contours of a loss, and their loss curves.

    The optimizers are those of `course_lib.optim`. A new playground starts where its surface suggests, and what `rates`
    leaves out gets the rate suggested there: a common rate would not be a common condition.

    State:
        surface: "bowl", "ravine", "tilted ravine", "saddle", "Rosenbrock", or "plane": a cut through the loss of a real
            model (course_lib/recorded/loss_plane.py).
        optimizers: One or more of "SGD", "Momentum", "RMSProp", "Adam", "AdamW".
        rates: The rate of each, above 0, up to 1000.
        selected: The optimizer whose settings the sliders show.
        momentum: Of Momentum; at least 0 and below 1, as the next three.
        alpha: Of RMSProp.
        beta1: Of Adam and AdamW.
        beta2: Of Adam and AdamW.
        decay: Weight decay of all, 0 to 10, as each of them defines it.
        noise: Standard deviation of what is added to each part of every gradient, 0 to 1000; the same for all.
        start: Where all of them start, [x, y], on the map.
        shown: Steps drawn, 0 to `total`.
        total: Steps computed, 1 to 2000.
        plane: The recording "loss_plane", or None to leave that surface out.
    """

    _name = "optimizer_playground"
    surface = traitlets.Unicode("ravine").tag(sync=True)
    optimizers = traitlets.List(traitlets.Unicode(), ["SGD", "Momentum", "Adam"]).tag(sync=True)
    rates = traitlets.Dict(
        default_value={"SGD": 0.019, "Momentum": 0.01, "RMSProp": 0.1, "Adam": 0.4, "AdamW": 0.4}
    ).tag(sync=True)
    selected = traitlets.Unicode("SGD").tag(sync=True)
    momentum = traitlets.Float(0.9).tag(sync=True)
    alpha = traitlets.Float(0.99).tag(sync=True)
    beta1 = traitlets.Float(0.9).tag(sync=True)
    beta2 = traitlets.Float(0.999).tag(sync=True)
    decay = traitlets.Float(0.0).tag(sync=True)
    noise = traitlets.Float(0.0).tag(sync=True)
    start = traitlets.List(traitlets.Float(), [10.0, 1.0]).tag(sync=True)
    shown = traitlets.Int(60).tag(sync=True)
    total = traitlets.Int(200).tag(sync=True)
    plane = traitlets.Dict(allow_none=True).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        plane = state.setdefault("plane", recorded.load("loss_plane"))
        asked = {"surface": state.get("surface", "ravine"), "plane": plane}
        suggestion = run(self._name, "suggested(asked)", asked=asked)
        state["rates"] = suggestion["rates"] | dict(state.get("rates", {}))
        super().__init__(**{"start": suggestion["start"], **state})

    def results(self) -> dict[str, dict[str, Any]]:
        """Where each chosen optimizer is after all `total` steps, as the widget computes it.

        Returns:
            By optimizer: "place" [x, y], "loss" there, and "diverged", the step at which the loss was lost, or None.
        """
        found = "Object.fromEntries(state.optimizers.map((name) => [name, endOf(walkOf(state, name))]))"
        results: dict[str, dict[str, Any]] = run(self._name, found, state=self.current_state())
        return results
