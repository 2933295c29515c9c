"""The transformers against torch's own layers, and what they must not be changed by: padding, the future, the seed."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.models import (
    Block,
    EncoderConfig,
    LMConfig,
    SelfAttention,
    TransformerClassifier,
    TransformerLM,
    attention,
    count_parameters,
    masked_mean,
    rotate,
    sinusoidal_positions,
)
from course_lib.models.attention import rotary_angles

SMALL = {"vocab_size": 50, "max_length": 20, "d_model": 32, "n_heads": 4, "n_layers": 2, "d_ff": 64}


def classifier(*, seed=0, dtype=torch.float32, **settings):
    torch.manual_seed(seed)
    return TransformerClassifier(EncoderConfig(**{**SMALL, **settings})).to(dtype).eval()


def language_model(*, seed=0, dtype=torch.float32, **settings):
    torch.manual_seed(seed)
    return TransformerLM(LMConfig(**{**SMALL, **settings})).to(dtype).eval()


def heads(B=2, H=3, T=7, D=8, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(B, H, T, D, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def padded(lengths=(3, 7, 5), width=7, side="right"):
    """Ids and mask of sequences 1, 2, 3 ...; the padding is id 0."""
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for row, n in enumerate(lengths):
        place = slice(0, n) if side == "right" else slice(width - n, width)
        ids[row, place] = torch.arange(1, n + 1) + row
        mask[row, place] = True
    return ids, mask


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_the_classifier_has_the_parameters_of_the_source():
    model = TransformerClassifier(EncoderConfig())
    assert count_parameters(model) == 5_785_858
    assert count_parameters(model.embedding) == 10_000 * 256
    assert [count_parameters(block) for block in model.blocks] == [789_760] * 4
    assert count_parameters(model.norm) == 512
    assert count_parameters(model.head[0]) == 256 * 256 + 256
    assert count_parameters(model.head[3]) == 256 * 2 + 2
    assert count_parameters(model.head) + 2_560_000 + 4 * 789_760 + 512 == 5_785_858
    assert round(4 * 5_785_858 / 1e6) == 23  # MB of the checkpoint, 4 bytes each


def test_count_parameters_can_leave_out_the_frozen_ones_and_counts_shared_ones_once():
    model = classifier()
    everything = count_parameters(model)
    model.embedding.requires_grad_(False)
    assert count_parameters(model, trainable=True) == everything - 50 * 32
    assert count_parameters(model) == everything
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert count_parameters(nn.Sequential(first, second)) == 15


# --- attention --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [None, "keys", "full"])
def test_attention_equals_torch_with_gradients(causal, masked):
    q, k, v = heads()
    mask = None
    if masked == "keys":
        mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
        mask[0, ..., 4:] = False
    elif masked == "full":
        mask = torch.rand(2, 3, 7, 7) < 0.5
        mask |= torch.eye(7, dtype=torch.bool)  # every row sees at least itself
    both = mask
    if causal:
        past = torch.ones(7, 7, dtype=torch.bool).tril()
        both = past if mask is None else mask & past
    ours, weights = attention(q, k, v, mask=mask, causal=causal)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=both)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64), rtol=1e-12, atol=0)
    if both is not None:
        assert (weights.masked_select(~both.expand_as(weights)) == 0).all()
    slope = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad((ours * slope).sum(), (q, k, v)),
        torch.autograd.grad((theirs * slope).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize(("causal", "with_mask"), [(False, False), (True, False), (False, True)])
def test_self_attention_runs_the_attention_that_is_written_out(rotary, causal, with_mask):
    torch.manual_seed(0)
    layer = SelfAttention(32, 4, causal=causal, rotary_length=20 if rotary else None).double()
    x = torch.randn(3, 7, 32, dtype=torch.float64)
    mask = padded()[1] if with_mask else None
    q, k, v = (part.view(3, 7, 4, 8).transpose(1, 2) for part in layer.qkv(x).split(32, dim=-1))
    if rotary:
        q, k = (part / (part.square().mean(-1, keepdim=True) + torch.finfo(part.dtype).eps).sqrt() for part in (q, k))
        q, k = rotate(q, layer.angles[:7]), rotate(k, layer.angles[:7])
    mixed, _ = attention(q, k, v, mask=None if mask is None else mask[:, None, None, :], causal=causal)
    expected = layer.out(mixed.transpose(1, 2).reshape(3, 7, 32))
    torch.testing.assert_close(layer(x, mask), expected, rtol=1e-12, atol=1e-12)


def test_self_attention_equals_torch_multi_head_attention():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(32, 4).double(), nn.MultiheadAttention(32, 4, batch_first=True).double()
    copy_attention(ours, theirs)
    x, mask = torch.randn(3, 7, 32, dtype=torch.float64), padded()[1]
    expected, _ = theirs(x, x, x, key_padding_mask=~mask, need_weights=False)
    torch.testing.assert_close(ours(x, mask), expected, rtol=1e-12, atol=1e-12)


def test_attention_dropout_acts_in_training_only():
    torch.manual_seed(0)
    layer, x = SelfAttention(32, 4, dropout=0.5), torch.randn(1, 7, 32)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "d_model"), [(1, 2), (5, 6), (256, 256)])
def test_sinusoidal_positions_equal_the_formula(length, d_model):
    expected = [
        [
            (math.sin if channel % 2 == 0 else math.cos)(position / 10_000 ** (channel // 2 * 2 / d_model))
            for channel in range(d_model)
        ]
        for position in range(length)
    ]
    torch.testing.assert_close(sinusoidal_positions(length, d_model), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_rotation_equals_multiplication_of_complex_numbers():
    x, angles = heads()[0], rotary_angles(7, 8).double()
    pairs = torch.complex(x[..., :4], x[..., 4:])  # channel i with channel i + D/2
    position = torch.arange(7, dtype=torch.float64).unsqueeze(1)
    theta = 1_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)  # base^(-2i/D)
    turned = pairs * torch.exp(1j * position * theta)
    expected = torch.cat([turned.real, turned.imag], dim=-1)
    torch.testing.assert_close(angles, position * theta, rtol=1e-6, atol=1e-6)  # the table is float32
    torch.testing.assert_close(rotate(x, position * theta), expected, rtol=1e-12, atol=1e-12)


def test_rotary_scores_depend_on_distance_only_and_lengths_stay():
    torch.manual_seed(0)
    angles = (torch.arange(20.0).unsqueeze(1) * 1_000.0 ** (-torch.arange(4) / 4)).double()
    query, key = (torch.randn(8, dtype=torch.float64).expand(1, 1, 20, 8) for _ in range(2))
    turned_query, turned_key = rotate(query, angles), rotate(key, angles)
    scores = (turned_query @ turned_key.transpose(-2, -1))[0, 0]
    for distance in range(-19, 20):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)
    assert scores.diagonal(1)[0] != pytest.approx(float(scores.diagonal(2)[0]), abs=1e-3)
    torch.testing.assert_close(turned_query.norm(dim=-1), query.norm(dim=-1), rtol=1e-12, atol=0)
    assert torch.equal(turned_query[..., 0, :], query[..., 0, :])  # position 0 turns nothing


# --- the classifier ---------------------------------------------------------------------------------------------------


def copy_attention(ours, theirs):
    theirs.in_proj_weight.data.copy_(ours.qkv.weight)
    theirs.in_proj_bias.data.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def torch_encoder(model):
    """torch.nn.TransformerEncoder with the weights of a classifier of the course."""
    config = model.config
    layer = nn.TransformerEncoderLayer(
        config.d_model, config.n_heads, config.d_ff, 0.0, activation="relu", norm_first=True, batch_first=True
    )
    encoder = nn.TransformerEncoder(
        layer, config.n_layers, norm=nn.LayerNorm(config.d_model), enable_nested_tensor=False
    ).double()
    for ours, theirs in zip(model.blocks, encoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward.widen.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.narrow.state_dict())
    encoder.norm.load_state_dict(model.norm.state_dict())
    return encoder


def test_the_classifier_equals_torch_transformer_encoder_with_gradients():
    model = classifier(dtype=torch.float64)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter)  # gains of 1 and biases of 0 would hide one that is left out
    encoder = torch_encoder(model)
    ids, mask = padded()
    x = F.embedding(ids, model.embedding.weight) * math.sqrt(32) + sinusoidal_positions(20, 32)[:7].double()
    x = encoder(x, src_key_padding_mask=~mask)
    pooled = torch.stack([row[real].mean(dim=0) for row, real in zip(x, mask, strict=True)])
    expected = model.head[3](torch.relu(model.head[0](pooled)))
    logits = model(ids, mask)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    (ours,) = torch.autograd.grad(logits[:, 1].sum(), model.embedding.weight)
    (theirs,) = torch.autograd.grad(expected[:, 1].sum(), model.embedding.weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [7, 8, 20])
def test_padding_changes_nothing(side, width):
    model = classifier(dtype=torch.float64)
    expected = model(*padded())
    ids, mask = padded(width=width, side=side)
    torch.testing.assert_close(model(ids, mask), expected, rtol=1e-10, atol=1e-12)
    ids = ids.masked_fill(~mask, 49)  # whatever stands there
    torch.testing.assert_close(model(ids, mask), expected, rtol=1e-10, atol=1e-12)
    alone = torch.cat([model(row[real][None], real[real][None]) for row, real in zip(ids, mask, strict=True)])
    torch.testing.assert_close(alone, expected, rtol=1e-10, atol=1e-12)


def test_order_and_every_token_matter():
    model = classifier()
    ids = torch.arange(1, 8)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    expected = model(ids, mask)
    assert not torch.allclose(model(ids.flip(1), mask), expected, atol=1e-5)
    for place in range(7):
        changed = ids.clone()
        changed[0, place] = 40
        assert not torch.allclose(model(changed, mask), expected, atol=1e-5)


def test_masked_mean_ignores_padding():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, math.pi]], [[5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert masked_mean(x, mask).tolist() == [[2.0, 3.0], [7.0, 8.0]]
    x.requires_grad_()
    masked_mean(x, mask).sum().backward()
    assert x.grad[0, 2].tolist() == [0.0, 0.0]
    assert x.grad[0, 0].tolist() == [0.5, 0.5]


def test_an_untrained_classifier_knows_nothing():
    torch.manual_seed(0)
    model = TransformerClassifier(EncoderConfig(max_length=64)).eval()
    ids = torch.randint(2, 10_000, (64, 64))
    logits = model(ids, torch.ones_like(ids, dtype=torch.bool))
    loss = F.cross_entropy(logits, torch.arange(64) % 2)
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=0.1)


# --- the language model -----------------------------------------------------------------------------------------------

STYLES = pytest.mark.parametrize("style", ["gpt2", "modern"])


@STYLES
@pytest.mark.parametrize("lookback", [0, 3])
def test_the_future_changes_no_past_logits(style, lookback):
    model = language_model(style=style, lookback=lookback, dtype=torch.float64)
    torch.manual_seed(1)
    ids = torch.randint(50, (2, 20))
    expected = model(ids)
    for place in (1, 7, 19):
        changed = ids.clone()
        changed[:, place] = (ids[:, place] + 1) % 50
        logits = model(changed)
        torch.testing.assert_close(logits[:, :place], expected[:, :place], rtol=1e-12, atol=1e-12)
        assert (logits[:, place:] - expected[:, place:]).abs().amax(dim=-1).min() > 1e-9
        torch.testing.assert_close(model(ids[:, :place]), expected[:, :place], rtol=1e-10, atol=1e-10)


@STYLES
def test_the_gradient_of_a_position_reaches_no_later_input(style):
    model = language_model(style=style)
    ids = torch.randperm(50)[None, :10]
    x = model.embedding(ids).detach().requires_grad_()
    model.embedding.register_forward_hook(lambda *_: x)
    model(ids)[0, 4].square().sum().backward()
    reached = x.grad[0].abs().sum(dim=-1)
    assert (reached[:5] > 0).all()
    assert (reached[5:] == 0).all()


@STYLES
def test_embeddings_are_tied(style):
    model = language_model(style=style)
    config = model.config
    block = 4 * 32 * 32 + 4 * 32 + 2 * 32 * 64 + 64 + 32 + 4 * 32
    positions = 20 * 32 if style == "gpt2" else 0
    assert count_parameters(model) == 50 * 32 + positions + 2 * block + 2 * 32
    assert [n for n, p in model.named_parameters() if p.shape == (config.vocab_size, 32)] == ["embedding.weight"]
    ids = torch.tensor([[1, 2, 3]])
    model(ids).logsumexp(-1).sum().backward()
    rows = model.embedding.weight.grad.abs().sum(dim=-1)
    assert (rows > 0).all()  # every row through the output, where all are read
    model.zero_grad()
    model(ids)[..., 30].sum().backward()
    rows = model.embedding.weight.grad.abs().sum(dim=-1)
    assert (rows[[1, 2, 3, 30]] > 0).all()  # what was written in, and the row that was read
    assert (rows[[0, 4, 31, 49]] == 0).all()


@STYLES
@pytest.mark.parametrize("vocabulary", [50, 103, 1000])
def test_an_untrained_language_model_pays_ln_v(style, vocabulary):
    model = language_model(style=style, vocab_size=vocabulary)
    torch.manual_seed(2)
    ids, targets = torch.randint(vocabulary, (8, 20)), torch.randint(vocabulary, (8, 20))
    loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    assert float(loss.detach()) == pytest.approx(math.log(vocabulary), abs=0.05)


def test_lookback_adds_the_vectors_of_the_tokens_before():
    model = language_model(style="modern", lookback=3)
    ids = torch.tensor([[4, 9, 2, 7, 1]])
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(ids)
    for place in range(5):
        expected = model.embedding.weight[ids[0, place]]
        for back in range(1, min(3, place) + 1):
            expected = expected + model.earlier[back - 1].weight[ids[0, place - back]]
        torch.testing.assert_close(seen[0][0, place], expected)
    for length in (1, 2, 3):  # a text shorter than the lookback
        torch.testing.assert_close(model(ids[:, :length]), model(ids)[:, :length], rtol=1e-4, atol=1e-5)


def test_the_gpt2_style_bends_with_gelu_and_the_modern_one_with_a_squared_relu():
    x = torch.linspace(-2, 2, 9)
    bend = {style: language_model(style=style).blocks[0].feed_forward.bend for style in ("gpt2", "modern")}
    torch.testing.assert_close(bend["gpt2"](x), torch.nn.GELU()(x))
    torch.testing.assert_close(bend["modern"](x), torch.relu(x) ** 2)


def test_starting_weights_are_small_and_writers_smaller():
    model = language_model(d_model=128, d_ff=512, n_layers=4, vocab_size=500)
    for name, weight in model.named_parameters():
        if "norm" not in name and weight.ndim == 2:
            writes = name.endswith(("out.weight", "narrow.weight"))
            expected = 0.02 / math.sqrt(8) if writes else 0.02
            assert float(weight.detach().std()) == pytest.approx(expected, rel=0.05), name
        elif "norm" not in name:
            assert (weight == 0).all(), name


# --- both -------------------------------------------------------------------------------------------------------------


def test_the_seed_decides_the_weights_and_dropout():
    for make in (classifier, language_model):
        first, same, other = make(), make(), make(seed=1)
        for a, b in zip(first.parameters(), same.parameters(), strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(first.embedding.weight, other.embedding.weight)
    model = classifier(dropout=0.5).train()
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(model(*padded()))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("make", [classifier, language_model, lambda: language_model(style="modern")])
def test_it_learns_a_tiny_batch_by_heart(make):
    model = make().train()
    ids, mask = padded(lengths=(7, 7, 7, 7))
    targets = torch.tensor([0, 1, 1, 0]) if make is classifier else (ids * 7 + 3) % 50
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = F.cross_entropy(model(ids, mask).flatten(0, -2), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    assert all(p.grad is not None for p in model.parameters())  # nothing stands beside the model


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (EncoderConfig, {"d_model": 30}, "d_model: expected an even multiple of n_heads=8, got 30"),
        (EncoderConfig, {"d_model": 7, "n_heads": 7}, "d_model: expected an even multiple"),
        (EncoderConfig, {"vocab_size": 0}, "vocab_size: expected at least 1, got 0"),
        (EncoderConfig, {"n_layers": -1}, "n_layers"),
        (EncoderConfig, {"n_heads": 0}, "n_heads"),
        (EncoderConfig, {"d_ff": 0}, "d_ff"),
        (EncoderConfig, {"max_length": 0}, "max_length"),
        (EncoderConfig, {"dropout": 1.0}, "dropout: expected 0 <= dropout < 1, got 1.0"),
        (EncoderConfig, {"dropout": -0.1}, "dropout"),
        (EncoderConfig, {"dropout": math.nan}, "dropout"),
        (EncoderConfig, {"n_classes": 1}, "n_classes: expected at least 2, got 1"),
        (LMConfig, {"style": "gpt3"}, "style: expected 'gpt2' or 'modern', got 'gpt3'"),
        (LMConfig, {"lookback": 64}, "lookback: expected 0 to max_length - 1, got 64"),
        (LMConfig, {"lookback": -1}, "lookback"),
        (LMConfig, {"style": "modern", "d_model": 12, "n_heads": 4}, "n_heads: rotary positions .* even"),
    ],
)
def test_sizes_that_cannot_be_are_named(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


@pytest.mark.parametrize("ids", [torch.zeros(5), torch.zeros(1, 21), torch.zeros(0, 5), torch.zeros(2, 0)])
def test_ids_of_a_wrong_shape_are_refused(ids):
    ids = ids.long()
    for model in (classifier(), language_model(), language_model(style="modern")):
        with pytest.raises(ValueError, match=rf"shape \(B, T\).*max_length=20, got \({ids.shape[0]}"):
            model(ids, torch.ones_like(ids, dtype=torch.bool))


def test_a_mask_that_does_not_fit_is_refused():
    ids, mask = padded()
    for wrong in (mask[:, :-1], mask[:1], mask.float(), mask.long()):
        with pytest.raises(ValueError, match=r"expected a mask of bool in the shape of the token ids, \(3, 7\)"):
            classifier()(ids, wrong)


def test_a_block_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    block = Block(EncoderConfig(**SMALL)).double().eval()
    x, mask = torch.randn(3, 7, 32, dtype=torch.float64), padded()[1]
    middle = x + block.attention(block.attention_norm(x), mask)
    hidden = torch.relu(block.feed_forward.widen(block.feed_forward_norm(middle)))
    torch.testing.assert_close(block(x, mask), middle + block.feed_forward.narrow(hidden), rtol=1e-12, atol=1e-12)
