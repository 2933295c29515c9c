"""RMSProp, Adam and AdamW: each weight's step is divided by the size of its own recent gradients.

The bodies are labelled in the papers' order: decay, moments, bias correction, update. The operations run in place,
in the order of torch's plain (not fused) implementation: a few passes over memory, and parity to the last digits.
Taught in chapter 08.
"""

import torch
from torch import Tensor
from torch.optim.adamw import adamw as torch_adamw
from torch.optim.optimizer import ParamsT

from course_lib.optim.base import Group, Optimizer, State, start_averages


class RMSProp(Optimizer):
    """Change from SGD: divide each gradient by the root of its own running mean square. Equal to torch.optim.RMSprop.

    Source: Tieleman and Hinton (2012), "Neural networks for machine learning", lecture 6.5: 0.9 there = alpha,
        MeanSquare = square_avg. Centered: Graves (2013), equations 38 to 41: n = square_avg, g = grad_avg. As in
        torch, and unlike Graves, eps is added to the root.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
        )

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        if not state:
            averages = ["square_avg"] + ["momentum_buffer"] * (group["momentum"] > 0) + ["grad_avg"] * group["centered"]
            start_averages(state, parameter, *averages)
        state["step"] += 1
        gradient = self._decay(parameter, gradient, group)
        # moments
        square_avg, alpha = state["square_avg"], group["alpha"]
        square_avg.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        if group["centered"]:  # the mean square less the squared mean is the variance
            state["grad_avg"].lerp_(gradient, 1 - alpha)
            size = square_avg.addcmul(state["grad_avg"], state["grad_avg"], value=-1).sqrt_().add_(group["eps"])
        else:
            size = square_avg.sqrt().add_(group["eps"])
        # update
        if group["momentum"] > 0:
            state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(gradient, size)
            parameter.add_(state["momentum_buffer"], alpha=-group["lr"])
        else:
            parameter.addcdiv_(gradient, size, value=-group["lr"])


class Adam(Optimizer):
    """Change from RMSProp: average the gradient too, and correct both averages for having started at 0.

    Equal to torch.optim.Adam. Without the correction the first step is (1 - beta1) / sqrt(1 - beta2) = 3.16 times too
    long at the default betas.

    Source: Kingma and Ba (2015), algorithm 1: m_t = exp_avg, v_t = exp_avg_sq (the second raw moment, not the
        variance), beta1, beta2 = betas, t = step, epsilon = eps. amsgrad: Reddi et al. (2018), algorithm 2:
        v-hat = max_exp_avg_sq, the largest v so far.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def _update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        if not state:
            self._start(parameter, state, group)
        state["step"] += 1
        gradient = self._decay(parameter, gradient, group)
        # moments: m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        (beta1, beta2), t = group["betas"], state["step"].item()
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(gradient, 1 - beta1)
        v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if group["amsgrad"]:
            v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        # bias correction: after t steps an average that started at 0 holds the share 1 - beta^t of the gradients
        step_size = group["lr"] / (1 - beta1**t)
        size = (v.sqrt() / (1 - beta2**t) ** 0.5).add_(group["eps"])
        # update
        parameter.addcdiv_(m, size, value=-step_size)

    def _start(self, parameter: Tensor, state: State, group: Group) -> None:
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
        # torch's fused kernel reads the step on the parameter's own device; the written-out update reads it here.
        start_averages(state, parameter, *names, step_device=parameter.device if group.get("fused") else "cpu")


class AdamW(Adam):
    """Change from Adam: the decay shrinks the weights themselves and stays out of the moments.

    Equal to torch.optim.AdamW. In Adam, lambda theta joins the gradient and is then divided by its size, so weights
    with large gradients decay less. Here every weight shrinks by the factor 1 - gamma lambda.

    With `fused=True` torch's fused kernel does the same arithmetic in one pass over memory. The setting is kept in the
    group, as torch does: loading a state dict brings the setting that it was saved with.

    Source: Loshchilov and Hutter (2019), algorithm 2: eta_t alpha = lr and lambda = weight_decay. As in torch, the
        decay is scaled by the whole rate lr, where the paper scales it by the schedule eta_t alone.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        fused: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        Optimizer.__init__(self, params, **settings, fused=fused)

    def _decay(self, parameter: Tensor, gradient: Tensor, group: Group) -> Tensor:
        if group["weight_decay"] != 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        return gradient

    def _update_group(self, parameters: list[Tensor], group: Group) -> None:
        if not group["fused"]:
            super()._update_group(parameters, group)
            return
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                self._start(parameter, state, group)
        torch_adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states if group["amsgrad"]],
            [state["step"] for state in states],
            fused=True,
            amsgrad=group["amsgrad"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
