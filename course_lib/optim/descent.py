"""SGD and Momentum: every weight takes a step of the same scale. Taught in chapter 08, before the adaptive methods."""

from torch import Tensor
from torch.optim.optimizer import ParamsT

from course_lib.optim.base import Group, Optimizer, State


class SGD(Optimizer):
    """Walk against the gradient: theta <- theta - gamma g. Equal to torch.optim.SGD without momentum.

    Source: Robbins and Monro (1951), "A stochastic approximation method": a_n = lr.
    """

    def __init__(self, params: ParamsT, lr: float = 1e-3, *, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        gradient = self._decay(parameter, gradient, group)
        # update
        parameter.add_(gradient, alpha=-group["lr"])


class Momentum(Optimizer):
    """Change from SGD: walk along a running sum of gradients. Equal to torch.optim.SGD(momentum=...).

    The one default that is not torch's is momentum: 0.9, since torch's 0 is the plain SGD above.

    Source: Polyak (1964); Sutskever et al. (2013), equations 1 to 4, for Nesterov's form: mu = momentum, v = the
        buffer. As in torch, lr multiplies the buffer when it is used, not the gradients that enter it.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.9,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        gradient = self._decay(parameter, gradient, group)
        # moments: the first gradient enters whole, later ones by the share 1 - dampening
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = gradient.clone()
        else:
            state["momentum_buffer"].mul_(group["momentum"]).add_(gradient, alpha=1 - group["dampening"])
        # update: Nesterov looks one step ahead along the buffer
        step = state["momentum_buffer"]
        if group["nesterov"]:
            step = gradient.add(step, alpha=group["momentum"])
        parameter.add_(step, alpha=-group["lr"])
