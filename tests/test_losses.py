"""Cross-entropy against torch in float64, at its edges, and for what it refuses."""

import math

import pytest
import torch
from torch.nn import functional as F

from course_lib.losses import cross_entropy, log_softmax


def make_batch(*shape, n_classes=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(*shape, n_classes, generator=generator, dtype=dtype)).requires_grad_()
    return logits, torch.randint(n_classes, shape, generator=generator)


def torch_cross_entropy(logits, targets, *, reduction="mean", **settings):
    """torch.nn.functional.cross_entropy with the classes last."""
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction=reduction, **settings)
    return flat.reshape(targets.shape) if reduction == "none" else flat


@pytest.mark.parametrize("shape", [(), (5,), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_equals_torch_with_gradients(shape, reduction, label_smoothing, with_ignored):
    logits, targets = make_batch(*shape)
    if with_ignored and shape:
        targets.view(-1)[::2] = -100
    settings = {"reduction": reduction, "label_smoothing": label_smoothing}
    weights = torch.rand(shape, dtype=torch.float64) if reduction == "none" else torch.tensor(1.0)
    ours, theirs = cross_entropy(logits, targets, **settings), torch_cross_entropy(logits, targets, **settings)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    (our_gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    (their_gradient,) = torch.autograd.grad((theirs * weights).sum(), logits)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-12, atol=1e-12)


def test_gradient_is_probability_minus_target():
    logits, targets = make_batch(6)
    cross_entropy(logits, targets, reduction="sum").backward()
    expected = logits.detach().softmax(-1) - F.one_hot(targets, 7)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    logits, targets = make_batch(3, n_classes=4)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, targets, label_smoothing=0.1), (logits,))


def test_ignored_class_inside_the_range():
    logits, targets = make_batch(20)
    targets[0] = 0
    ours = cross_entropy(logits, targets, ignore_index=0)
    torch.testing.assert_close(ours, torch_cross_entropy(logits, targets, ignore_index=0), rtol=1e-12, atol=1e-12)
    assert ours != cross_entropy(logits, targets)


def test_untrained_loss_is_log_of_classes():
    assert cross_entropy(torch.zeros(4, 103), torch.arange(4)).item() == pytest.approx(math.log(103))


def test_by_hand():
    # A model that gives the right class the probability 0.85 pays -ln 0.85 = 0.163 nats.
    logits = torch.tensor([[math.log(0.85), math.log(0.15)]], dtype=torch.float64)
    assert cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(-math.log(0.85), abs=1e-15)


def test_huge_logits_survive():
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], requires_grad=True)
    losses = cross_entropy(logits, torch.tensor([1, 2]), reduction="none")
    torch.testing.assert_close(losses, torch.tensor([1e4, math.log(3)]))
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_minus_infinity_is_probability_zero():
    logits = torch.tensor([[0.0, -math.inf, 0.0], [1.0, 2.0, -math.inf]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 1]))
    loss.backward()
    ours, logits.grad = logits.grad, None
    theirs = F.cross_entropy(logits, torch.tensor([0, 1]))
    theirs.backward()
    torch.testing.assert_close(loss, theirs)
    torch.testing.assert_close(ours, logits.grad)
    assert (ours[0, 1], ours[1, 2]) == (0, 0)
    assert cross_entropy(logits, torch.tensor([1, 1]), reduction="none")[0] == math.inf


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4)])
def test_log_softmax_equals_torch(shape):
    logits, _ = make_batch(*shape)
    torch.testing.assert_close(log_softmax(logits), F.log_softmax(logits, dim=-1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_softmax(logits).exp().sum(-1), torch.ones(shape, dtype=torch.float64))


def test_log_softmax_of_extremes():
    result = log_softmax(torch.tensor([1e4, 0.0, -math.inf]))
    assert result.tolist() == [0.0, -1e4, -math.inf]
    assert log_softmax(torch.full((3,), -math.inf)).isnan().all()
    assert F.log_softmax(torch.full((3,), -math.inf), dim=-1).isnan().all()


def test_log_softmax_ignores_a_shift():
    logits, _ = make_batch(5)
    torch.testing.assert_close(log_softmax(logits + 1000), log_softmax(logits), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, targets = make_batch(8, n_classes=2000)
    half = logits.detach().to(dtype).requires_grad_()
    loss = cross_entropy(half, targets)
    assert loss.dtype == torch.float32
    assert log_softmax(half).dtype == torch.float32
    assert torch.equal(loss, cross_entropy(half.detach().float(), targets))
    loss.backward()
    assert half.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_whole_numbers_are_targets(dtype):
    logits, targets = make_batch(9)
    assert torch.equal(cross_entropy(logits, targets.to(dtype)), cross_entropy(logits, targets))


def test_inputs_are_left_alone():
    logits, targets = make_batch(6)
    targets[0] = -100
    logits_before, targets_before = logits.detach().clone(), targets.clone()
    cross_entropy(logits, targets)
    assert torch.equal(logits, logits_before)
    assert torch.equal(targets, targets_before)


def test_deterministic():
    assert torch.equal(cross_entropy(*make_batch(64, seed=3)), cross_entropy(*make_batch(64, seed=3)))


def test_sum_divided_once_is_the_mean_over_ragged_batches():
    logits, targets = make_batch(10)
    targets[7:9] = -100
    parts = [cross_entropy(logits[i : i + 4], targets[i : i + 4], reduction="sum") for i in (0, 4, 8)]
    torch.testing.assert_close(sum(parts) / 8, cross_entropy(logits, targets))


def test_descent_reaches_the_empirical_frequencies():
    targets = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for _ in range(500):
        (gradient,) = torch.autograd.grad(cross_entropy(logits.expand(10, 3), targets), logits)
        with torch.no_grad():
            logits -= gradient
    torch.testing.assert_close(logits.softmax(0), torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


def test_nothing_to_average():
    logits, _ = make_batch(3)
    all_ignored = torch.full((3,), -100)
    with pytest.raises(ValueError, match="every target is ignored"):
        cross_entropy(logits, all_ignored)
    with pytest.raises(ValueError, match="targets is empty"):
        cross_entropy(logits[:0], all_ignored[:0])
    assert cross_entropy(logits, all_ignored, reduction="sum") == 0
    assert cross_entropy(logits[:0], all_ignored[:0], reduction="sum") == 0
    assert cross_entropy(logits, all_ignored, reduction="none").tolist() == [0, 0, 0]
    assert cross_entropy(logits[:0], all_ignored[:0], reduction="none").shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 7, 50_000])
def test_target_out_of_range_names_value_range_and_position(wrong):
    logits, targets = make_batch(2, 3)
    targets[0, 0] = -100
    targets[1, 2] = wrong
    with pytest.raises(ValueError, match=rf"classes 0 to 6 .*got {wrong} at position \(1, 2\)"):
        cross_entropy(logits, targets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_smoothing": -0.1}, "label_smoothing must be between 0 and 1, got -0.1"),
        ({"label_smoothing": math.nan}, "label_smoothing must be between 0 and 1"),
        ({"reduction": "average"}, "reduction must be"),
        (
            {"targets": torch.zeros(4, dtype=torch.long)},
            r"shape of logits without its last dimension, \(3,\), got \(4,\)",
        ),
        ({"targets": torch.zeros(3)}, "whole numbers"),
        ({"targets": torch.zeros(3, dtype=torch.bool)}, "whole numbers"),
        ({"logits": torch.zeros(3, 7, dtype=torch.long)}, "floating point"),
        ({"logits": torch.zeros(3, 0)}, "V of at least 1"),
        ({"logits": torch.tensor(1.0)}, "V of at least 1"),
    ],
)
def test_refuses(change, message):
    logits, targets = make_batch(3)
    with pytest.raises(ValueError, match=message):
        cross_entropy(**{"logits": logits, "targets": targets} | change)
