"""The loop that every optimizer of the course shares; what happens to one parameter is left to `_update`.

It subclasses torch.optim.Optimizer for the bookkeeping (param_groups, state_dict, zero_grad), so that a torch scheduler
or the Trainer of transformers can drive it. The arithmetic is the course's own. Taught in chapter 08.

Symbols: theta = parameter, g = gradient, gamma (alpha in the Adam papers) = lr, lambda = weight_decay.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

Group = dict[str, Any]
State = dict[str, Any]


class Optimizer(torch.optim.Optimizer):
    """Loop over groups and parameters; a subclass says, in `_update`, what happens to one parameter."""

    def __init__(self, params: ParamsT, **settings: Any) -> None:
        super().__init__(params, settings)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with their own settings; what is not given is taken from the constructor's arguments."""
        _check_settings(type(self).__name__, self.defaults | param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update each parameter that has a gradient; `closure`, if given, computes the loss first and is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if any(parameter.grad.layout is not torch.strided for parameter in parameters):
                raise ValueError(f"{type(self).__name__} needs dense gradients, got a sparse one; use sparse=False")
            self._update_group(parameters, group)
        return loss

    def _update_group(self, parameters: list[Tensor], group: Group) -> None:
        for parameter in parameters:
            self._update(parameter, parameter.grad, self.state[parameter], group)  # type: ignore[arg-type]

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        raise NotImplementedError

    def _decay(self, parameter: Tensor, gradient: Tensor, group: Group) -> Tensor:
        """L2 regularization: g + lambda theta is the gradient of the loss plus lambda/2 |theta|^2."""
        if group["weight_decay"] == 0:
            return gradient
        return gradient.add(parameter, alpha=group["weight_decay"])


def start_averages(state: State, parameter: Tensor, *names: str, step_device: torch.device | str = "cpu") -> None:
    """Begin a parameter's state as torch does: averages of zeros in its shape, and a count of its updates.

    The count is a tensor because torch's is; on the CPU, reading it costs no wait for an accelerator.
    """
    state["step"] = torch.zeros((), dtype=torch.float32, device=step_device)
    for name in names:
        state[name] = torch.zeros_like(parameter)


def _check_settings(owner: str, settings: Group) -> None:
    """Refuse settings that would walk uphill, divide by zero or never forget, by name."""
    for name in ("lr", "eps", "weight_decay", "momentum"):
        if name in settings and not (_is_number(settings[name]) and 0 <= settings[name] < math.inf):
            raise ValueError(f"{owner}: {name} must be a finite number, 0 or more, got {settings[name]!r}")
    betas = settings.get("betas", ())
    if not isinstance(betas, tuple | list) or len(betas) not in (0, 2):
        raise ValueError(f"{owner}: betas must be a pair such as (0.9, 0.999), got {betas!r}")
    shares = {f"betas[{index}]": beta for index, beta in enumerate(betas)}
    if "alpha" in settings:
        shares["alpha"] = settings["alpha"]
    for name, share in shares.items():
        if not (_is_number(share) and 0 <= share < 1):
            raise ValueError(
                f"{owner}: {name} must be at least 0 and below 1 (the share kept each step), got {share!r}"
            )
    if not _is_number(settings.get("dampening", 0.0)) or not math.isfinite(settings.get("dampening", 0.0)):
        raise ValueError(f"{owner}: dampening must be a finite number, got {settings['dampening']!r}")
    if settings.get("nesterov") and (settings["momentum"] == 0 or settings["dampening"] != 0):
        raise ValueError(
            f"{owner}: nesterov=True needs momentum above 0 and dampening=0, "
            f"got momentum={settings['momentum']!r} and dampening={settings['dampening']!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
