"""Optimizers against torch over 200 steps, their state, clipping, groups, convergence, and what they refuse."""

import copy
import math

import pytest
import torch
from torch import nn

from course_lib import optim

CASES = [
    (optim.SGD, torch.optim.SGD, {}),
    (optim.SGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.Momentum, torch.optim.SGD, {"momentum": 0.9}),
    (optim.Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (optim.RMSProp, torch.optim.RMSprop, {}),
    (optim.RMSProp, torch.optim.RMSprop, {"lr": 0.003, "alpha": 0.9, "eps": 1e-5, "weight_decay": 0.1}),
    (optim.RMSProp, torch.optim.RMSprop, {"centered": True, "eps": 1e-4}),
    (optim.RMSProp, torch.optim.RMSprop, {"momentum": 0.5, "centered": True, "eps": 1e-4, "weight_decay": 0.1}),
    (optim.Adam, torch.optim.Adam, {}),
    (optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1}),
    (optim.Adam, torch.optim.Adam, {"amsgrad": True, "betas": (0.5, 0.6)}),
    (optim.AdamW, torch.optim.AdamW, {}),
    (optim.AdamW, torch.optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.3}),
    (optim.AdamW, torch.optim.AdamW, {"amsgrad": True, "betas": (0.5, 0.6), "weight_decay": 0.0}),
]
OURS = [
    (optim.SGD, {"lr": 0.2}),
    (optim.Momentum, {"lr": 0.05}),
    (optim.Momentum, {"lr": 0.05, "nesterov": True}),
    (optim.RMSProp, {"lr": 0.01}),
    (optim.Adam, {"lr": 0.05}),
    (optim.AdamW, {"lr": 0.05, "weight_decay": 0.0}),
    (optim.AdamW, {"lr": 0.05, "weight_decay": 0.0, "fused": True}),
]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def make_parameters(dtype=torch.float64, seed=0):
    """A matrix, a vector, a scalar and an empty tensor."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3), (5,), (), (0,)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def set_gradients(parameters, step):
    """Give equal parameters equal gradients: one of ten seeded ones."""
    generator = torch.Generator().manual_seed(100 + step % 10)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient.to(parameter.dtype)


def take_steps(optimizer, parameters, steps):
    for step in steps:
        set_gradients(parameters, step)
        optimizer.step()


def assert_equal_parameters(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "reference", "settings"), CASES)
def test_equals_torch_over_200_steps(kind, reference, settings, dtype):
    mine, other = make_parameters(dtype), make_parameters(dtype)
    ours, theirs = kind(mine, **settings), reference(other, **settings)
    for step in range(200):
        take_steps(ours, mine, [step])
        take_steps(theirs, other, [step])
        if step in (0, 1, 9, 199):
            assert_equal_parameters(mine, other, TOLERANCE[dtype])
    assert not torch.equal(mine[0], make_parameters(dtype)[0])


@pytest.mark.parametrize(("kind", "reference", "settings"), CASES)
def test_defaults_are_torchs(kind, reference, settings):
    ours, theirs = kind(make_parameters()).defaults, reference(make_parameters()).defaults
    known_difference = {"fused"} | ({"momentum"} if kind is optim.Momentum else set())
    for name in ours.keys() - known_difference:
        assert ours[name] == theirs[name], name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"amsgrad": True, "lr": 0.01, "weight_decay": 0.3}])
def test_fused_adamw_equals_plain(dtype, settings):
    mine, other = make_parameters(dtype), make_parameters(dtype)
    take_steps(optim.AdamW(mine, fused=True, **settings), mine, range(200))
    take_steps(torch.optim.AdamW(other, **settings), other, range(200))
    assert_equal_parameters(mine, other, TOLERANCE[dtype])


@pytest.mark.parametrize(("kind", "reference", "settings"), CASES)
@pytest.mark.parametrize("direction", ["from torch", "to torch"])
def test_state_moves_between_ours_and_torchs(kind, reference, settings, direction):
    straight, moved = make_parameters(), make_parameters()
    take_steps(kind(straight, **settings), straight, range(20))
    first, second = (reference, kind) if direction == "from torch" else (kind, reference)
    before, after = first(moved, **settings), second(moved, **settings)
    take_steps(before, moved, range(8))
    state = copy.deepcopy(before.state_dict())
    if kind is optim.SGD:  # torch's SGD also looks for the settings of its momentum, which ours does not have
        state["param_groups"][0] = after.state_dict()["param_groups"][0] | state["param_groups"][0]
    after.load_state_dict(state)
    take_steps(after, moved, range(8, 20))
    assert_equal_parameters(moved, straight, 1e-12)


@pytest.mark.parametrize("fused_first", [False, True])
def test_adamw_state_has_torchs_keys_and_moves_between_plain_and_fused(fused_first):
    mine, straight = make_parameters(), make_parameters()
    take_steps(optim.AdamW(straight), straight, range(20))
    first, second = optim.AdamW(mine, fused=fused_first), optim.AdamW(mine, fused=not fused_first)
    take_steps(first, mine, range(8))
    theirs = torch.optim.AdamW(make_parameters())
    take_steps(theirs, theirs.param_groups[0]["params"], [0])
    for our_state, their_state in zip(first.state.values(), theirs.state.values(), strict=True):
        assert our_state.keys() == their_state.keys()
        assert all(our_state[key].shape == their_state[key].shape for key in our_state)
        assert all(our_state[key].dtype == their_state[key].dtype for key in our_state)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]["fused"] is fused_first
    second.param_groups[0]["fused"] = not fused_first
    take_steps(second, mine, range(8, 20))
    assert_equal_parameters(mine, straight, 1e-12)


@pytest.mark.parametrize(("kind", "settings"), OURS)
def test_resuming_is_exact(kind, settings):
    straight, resumed = make_parameters(), make_parameters()
    take_steps(kind(straight, **settings), straight, range(12))
    first = kind(resumed, **settings)
    take_steps(first, resumed, range(5))
    second = kind(resumed, **settings)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    take_steps(second, resumed, range(5, 12))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


@pytest.mark.parametrize(("kind", "settings"), OURS)
def test_deterministic(kind, settings):
    runs = []
    for _ in range(2):
        parameters = make_parameters(torch.float32)
        take_steps(kind(parameters, **settings), parameters, range(30))
        runs.append(parameters)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize(("kind", "settings"), OURS)
def test_reaches_the_minimum_of_a_quadratic(kind, settings):
    # loss = 1/2 sum(curvature * (x - target)^2): 20 times as steep along one axis as along the other.
    curvature = torch.tensor([4.0, 0.2], dtype=torch.float64)
    target = torch.tensor([1.0, -2.0], dtype=torch.float64)
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = kind([x], **settings)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = settings["lr"] * (1 - step / 600)  # RMSProp needs a decay to settle
        optimizer.zero_grad()
        (0.5 * curvature * (x - target) ** 2).sum().backward()
        optimizer.step()
    torch.testing.assert_close(x.detach(), target, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("kind", "settings"), OURS)
def test_parameter_without_gradient_is_skipped(kind, settings):
    used, unused = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = kind([used, unused], **settings | {"weight_decay": 0.1})
    used.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(unused, torch.ones(3))
    assert not torch.equal(used, torch.ones(3))
    assert unused not in optimizer.state
    used.grad = None
    before = used.detach().clone()
    optimizer.step()
    assert torch.equal(used, before)


@pytest.mark.parametrize(("kind", "settings"), OURS)
def test_sparse_gradient_is_refused(kind, settings):
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=f"{kind.__name__} needs dense gradients"):
        kind(table.parameters(), **settings).step()


def test_gradient_is_left_alone():
    for kind, _, settings in CASES:
        parameters = make_parameters()
        optimizer = kind(parameters, **settings)
        set_gradients(parameters, 0)
        before = [parameter.grad.clone() for parameter in parameters]
        optimizer.step()
        assert all(torch.equal(p.grad, b) for p, b in zip(parameters, before, strict=True)), kind


def test_closure_runs_with_gradients_and_its_loss_is_returned():
    x = torch.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 9.0
    assert x.item() == 0.0
    assert optimizer.step() is None


def test_groups_keep_their_own_settings():
    fast, slow = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = optim.SGD([{"params": [fast], "lr": 1.0}, {"params": [slow]}], lr=0.1)
    fast.grad, slow.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (fast.item(), slow.item()) == pytest.approx((-1.0, -0.1))


def test_torch_scheduler_drives_it():
    x = torch.zeros(1, requires_grad=True)
    optimizer = optim.AdamW([x], lr=0.4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        x.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.4, 0.2, 0.4 / 3])


def test_adam_takes_a_first_step_of_the_learning_rate():
    # With bias correction the first step is lr whatever the gradient's size; without it, 3.16 times that.
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = optim.Adam([x], lr=0.01)
    x.grad = torch.tensor([1e-3, 1.0, -1e3], dtype=torch.float64)
    optimizer.step()
    torch.testing.assert_close(x.detach(), torch.tensor([-0.01, -0.01, 0.01], dtype=torch.float64), rtol=1e-4, atol=0)
    assert 0.1 / math.sqrt(0.001) == pytest.approx(3.16, abs=0.005)


def test_adamw_decays_by_lr_times_lambda():
    # With a zero gradient only the decay acts: 100 steps at lr 1e-3 and lambda 0.01 keep (1 - 1e-5)^100 = 99.9%.
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = optim.AdamW([x], lr=1e-3, weight_decay=0.01)
    for _ in range(100):
        x.grad = torch.zeros(1, dtype=torch.float64)
        optimizer.step()
    assert x.item() == pytest.approx((1 - 1e-5) ** 100, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (optim.SGD, {"lr": -0.1}, "SGD: lr must be a finite number, 0 or more, got -0.1"),
        (optim.SGD, {"lr": math.nan}, "SGD: lr .* got nan"),
        (optim.SGD, {"lr": math.inf}, "SGD: lr .* got inf"),
        (optim.SGD, {"lr": "1e-3"}, "SGD: lr .* got '1e-3'"),
        (optim.SGD, {"weight_decay": -1}, "SGD: weight_decay .* got -1"),
        (optim.Momentum, {"momentum": -0.9}, "Momentum: momentum .* got -0.9"),
        (optim.Momentum, {"dampening": math.nan}, "Momentum: dampening .* got nan"),
        (optim.Momentum, {"nesterov": True, "momentum": 0.0}, "nesterov=True needs momentum above 0"),
        (optim.Momentum, {"nesterov": True, "dampening": 0.1}, "nesterov=True needs .* dampening=0.1"),
        (optim.RMSProp, {"alpha": 1.0}, "RMSProp: alpha must be at least 0 and below 1 .* got 1.0"),
        (optim.RMSProp, {"eps": -1e-8}, "RMSProp: eps .* got -1e-08"),
        (optim.Adam, {"betas": (1.0, 0.999)}, r"Adam: betas\[0\] must be at least 0 and below 1 .* got 1.0"),
        (optim.Adam, {"betas": (0.9, -0.1)}, r"Adam: betas\[1\] .* got -0.1"),
        (optim.Adam, {"betas": 0.9}, "Adam: betas must be a pair"),
        (optim.AdamW, {"betas": (0.9,)}, "AdamW: betas must be a pair"),
        (optim.AdamW, {"weight_decay": math.nan}, "AdamW: weight_decay .* got nan"),
        (optim.AdamW, {"eps": -1.0}, "AdamW: eps .* got -1.0"),
    ],
)
def test_settings_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(make_parameters(), **settings)
    group = {"params": make_parameters(), **settings}
    with pytest.raises(ValueError, match=message):
        kind([group])


def test_unknown_setting_is_refused():
    with pytest.raises(TypeError):
        optim.Adam(make_parameters(), learning_rate=0.1)


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e6, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clip_grad_norm_equals_torch(max_norm, dtype):
    mine, other = make_parameters(dtype), make_parameters(dtype)
    set_gradients(mine, 0)
    set_gradients(other, 0)
    unclipped = torch.cat([parameter.grad.flatten() for parameter in mine]).norm()
    ours = optim.clip_grad_norm(iter(mine), max_norm)
    theirs = nn.utils.clip_grad_norm_(other, max_norm)
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE[dtype], atol=0)
    torch.testing.assert_close(ours, unclipped)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=TOLERANCE[dtype], atol=0)
    assert optim.clip_grad_norm(mine, math.inf) <= max_norm * (1 + 1e-6)


def test_clip_grad_norm_leaves_short_gradients_bit_for_bit():
    x = torch.zeros(2, requires_grad=True)
    x.grad = torch.tensor([0.3, 0.4])
    assert optim.clip_grad_norm(x, 1.0).item() == pytest.approx(0.5)
    assert torch.equal(x.grad, torch.tensor([0.3, 0.4]))


def test_clip_grad_norm_without_gradients_and_with_some():
    assert optim.clip_grad_norm([], 1.0) == 0
    assert optim.clip_grad_norm(make_parameters(), 1.0) == 0
    parameters = make_parameters()
    parameters[1].grad = torch.full((5,), 2.0, dtype=torch.float64)
    assert optim.clip_grad_norm(parameters, 1.0).item() == pytest.approx(math.sqrt(20))
    assert parameters[0].grad is None


def test_clip_grad_norm_shows_a_broken_gradient():
    x = torch.zeros(2, requires_grad=True)
    x.grad = torch.tensor([1.0, math.nan])
    assert optim.clip_grad_norm(x, 1.0).isnan()


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan])
def test_clip_grad_norm_refuses(max_norm):
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        optim.clip_grad_norm(make_parameters(), max_norm)


class TiedModel(nn.Module):
    """An embedding whose table is also the output layer, a norm, and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.body = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embedding.weight


def test_parameter_groups():
    model = TiedModel()
    decayed, plain = optim.parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model.embedding.weight), id(model.body.weight)]
    expected = [model.norm.weight, model.norm.bias, model.body.bias, model.head.bias]
    assert [id(p) for p in plain["params"]] == [id(p) for p in expected]
    optimizer = optim.AdamW(optim.parameter_groups(model, 0.1), lr=1e-3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_parameter_groups_without_matrices_or_without_vectors():
    assert [g["weight_decay"] for g in optim.parameter_groups(nn.LayerNorm(4), 0.1)] == [0.0]
    assert [g["weight_decay"] for g in optim.parameter_groups(nn.Linear(4, 4, bias=False), 0.1)] == [0.1]


def test_parameter_groups_refuses():
    with pytest.raises(ValueError, match=r"weight_decay must be 0 or more, got -0\.1"):
        optim.parameter_groups(TiedModel(), -0.1)
    with pytest.raises(ValueError, match="requires a gradient"):
        optim.parameter_groups(TiedModel().requires_grad_(False), 0.1)
