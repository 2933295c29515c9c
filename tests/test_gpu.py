"""The library on a CUDA, MPS or XPU device; `make gpu-check` runs these and ends with a table of them."""

import copy

import numpy as np
import pytest
import torch
from test_training import RESUMABLE, classifier, reviews, run, stop_at
from torch.nn import functional as F

from course_lib import optim, schedules
from course_lib.checkpoints import load_checkpoint, load_weights, save_weights, weights_of
from course_lib.data import TextBlocks
from course_lib.hardware import available, detect, seed_everything
from course_lib.models import LMConfig, TransformerLM, attention
from course_lib.optim import clip_grad_norm
from course_lib.training import DivergenceError, FitConfig, evaluate, predict, prediction_loss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(available()[0] == "cpu", reason="no CUDA, MPS or XPU device here"),
]


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products in full, not in tf32, so that they can be compared with those of the CPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def device():
    return detect().device


def test_detection_describes_the_device(device):
    found = detect()
    assert found.kind in ("cuda", "mps", "xpu")
    assert found.name
    assert found.memory_bytes > 2**30
    assert {"fp32", "fp16"} <= set(found.precisions)
    assert torch.zeros(2, device=found.device).device.type == found.kind
    assert detect("cpu").device == "cpu"


def test_bf16_is_listed_only_where_torch_has_it(device):
    if detect().kind == "cuda":
        assert ("bf16" in detect().precisions) == torch.cuda.is_bf16_supported(including_emulation=False)
    assert (
        torch.ones(8, 8, device=device, dtype=torch.float16)
        .matmul(torch.ones(8, 8, device=device, dtype=torch.float16))
        .sum()
        .item()
        == 512
    )


def test_a_seed_repeats_the_generator_of_the_device(device):
    draws = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        draws.append(torch.rand(5, device=device).tolist())
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch_on_the_device(causal, device):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 16, 8).to(device)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, causal=causal)[0], expected, rtol=1e-4, atol=1e-5)


def test_models_give_the_logits_of_the_cpu(device):
    batch = next(reviews().epoch(0))
    model = classifier().eval()
    expected = model(batch.inputs, batch.mask)
    moved = batch.to(device)
    torch.testing.assert_close(model.to(device)(moved.inputs, moved.mask).cpu(), expected, rtol=1e-4, atol=1e-5)
    for style in ("gpt2", "modern"):
        torch.manual_seed(0)
        model = TransformerLM(LMConfig(style=style)).eval()
        ids = torch.randint(103, (2, 64))
        expected = model(ids)
        torch.testing.assert_close(model.to(device)(ids.to(device)).cpu(), expected, rtol=1e-4, atol=1e-5)


def test_fit_follows_the_losses_of_the_cpu(device):
    config = FitConfig(epochs=3, accumulation=2, log_every=1)
    expected = run(classifier(), reviews(), config, evaluate=lambda m: evaluate(m, reviews(seed=7)))
    model = classifier().to(device)
    record = run(model, reviews(), config, evaluate=lambda m: evaluate(m, reviews(seed=7)))
    np.testing.assert_allclose(record["train_loss"], expected["train_loss"], rtol=1e-3)
    assert record["targets_seen"] == expected["targets_seen"]
    targets, logits = predict(model, reviews())
    assert targets.device.type == logits.device.type == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fit_learns_in_each_precision(precision, device):
    if precision not in detect().precisions:
        pytest.skip(f"{detect().name} does not multiply {precision} itself")
    torch.manual_seed(0)
    sizes = {"vocab_size": 10, "max_length": 8, "d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 64}
    model = TransformerLM(LMConfig(**sizes)).to(device)
    source = TextBlocks(np.arange(200) % 10, block_size=8, batch_size=8)
    run(model, source, FitConfig(epochs=25, precision=precision))
    assert evaluate(model, source)["val_loss"] < 0.2
    assert all(p.dtype == torch.float32 for p in model.parameters())  # mixed: the weights stay exact


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (optim.SGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.01}),
        (optim.Momentum, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
        (optim.RMSProp, torch.optim.RMSprop, {"lr": 1e-3}),
        (optim.Adam, torch.optim.Adam, {"lr": 1e-3}),
        (optim.AdamW, torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.1}),
    ],
)
def test_optimizers_equal_torch_on_the_device(ours, theirs, settings, device):
    torch.manual_seed(0)
    mine = [torch.randn(40, 30, device=device, requires_grad=True), torch.randn(30, device=device, requires_grad=True)]
    others = copy.deepcopy(mine)
    first, second = ours(mine, **settings), theirs(others, **settings)
    for _ in range(50):
        for parameter, other in zip(mine, others, strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.clone()
        norms = clip_grad_norm(mine, 5.0), torch.nn.utils.clip_grad_norm_(others, 5.0)
        torch.testing.assert_close(*norms, rtol=1e-6, atol=0)
        first.step()
        second.step()
    for parameter, other in zip(mine, others, strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-5, atol=1e-6)


def settings(model):
    return {
        "optimizer": optim.AdamW(model.parameters(), lr=1e-2),
        "schedule": schedules.Cosine(total_steps=18, warmup_steps=3),
    }


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_run_goes_on_on_another_device(way, device, tmp_path):
    first, second = (device, "cpu") if way == "there" else ("cpu", device)
    whole = classifier()
    expected = run(whole, reviews(44), RESUMABLE, **settings(whole))
    model = classifier().to(first)
    run(model, reviews(44), RESUMABLE, out=tmp_path, on_step=stop_at(7), **settings(model))
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    assert all(weight.device.type == "cpu" for weight in content["model"].values())
    model = classifier(seed=1).to(second)
    record = run(model, reviews(44), RESUMABLE, out=tmp_path, resume=True, **settings(model))
    np.testing.assert_allclose(record["train_loss"], expected["train_loss"], rtol=2e-3)
    assert next(model.parameters()).device.type == torch.device(second).type


def test_weights_move_between_devices_unchanged(device, tmp_path):
    model = classifier().to(device)
    save_weights(tmp_path / "w.safetensors", weights_of(model))
    for target in ("cpu", device):
        other = classifier(seed=1).to(target)
        load_weights(tmp_path / "w.safetensors", other)
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine.cpu(), theirs.cpu())


def test_a_loss_that_is_nan_is_found_at_the_next_row_and_never_saved(device, tmp_path):
    model, calls = classifier().to(device), []

    def spoiled(model, batch):
        calls.append(batch)
        loss, logits = prediction_loss(model, batch)
        return (loss * float("nan") if len(calls) == 3 else loss), logits

    config = FitConfig(epochs=2, log_every=5, checkpoint_every=2)
    with pytest.raises(DivergenceError, match="step 3"):
        run(model, reviews(), config, objective=spoiled, out=tmp_path)
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
    assert checkpoint["progress"]["step"] == 2
    assert all(weight.isfinite().all() for weight in checkpoint["model"].values())
