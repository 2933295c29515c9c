"""Choosing the next token: against references written another way, against transformers, and at the edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.generation import filter_logits, generate, next_token_logits
from course_lib.models import LMConfig, TransformerLM

LOGITS = torch.tensor([[1.0, 3.0, 2.0, -1.0, 0.0]])


def kept(logits, **settings):
    """Which tokens of the first row may still be drawn."""
    return filter_logits(logits, **settings)[0].isfinite().nonzero().flatten().tolist()


def reference(row, temperature, top_k, top_p):
    """The tokens to draw from and their probabilities, one row, in plain Python with exact sums."""
    scaled = [value / temperature for value in row]
    order = sorted(range(len(row)), key=lambda i: (-scaled[i], i))[: top_k or len(row)]
    shares = [math.exp(scaled[i] - scaled[order[0]]) for i in order]
    chosen = len(order)
    if top_p is not None:
        for n in range(1, len(order) + 1):
            if math.fsum(shares[:n]) / math.fsum(shares) >= top_p:
                chosen = n
                break
    total = math.fsum(shares[:chosen])
    return {i: share / total for i, share in zip(order[:chosen], shares, strict=False)}


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    temperature=st.floats(0.1, 5),
    top_k=st.none() | st.integers(1, 50),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_filtering_equals_the_reference(seed, size, temperature, top_k, top_p):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, size)) * 3)
    probabilities = filter_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p).softmax(dim=-1)
    for row, ours in zip(logits.tolist(), probabilities, strict=True):
        expected = reference(row, temperature, top_k, top_p)
        assert ours.nonzero().flatten().tolist() == sorted(expected)
        assert ours[list(expected)].tolist() == pytest.approx(list(expected.values()), rel=1e-9)


@pytest.mark.parametrize("top_k", [None, 1, 5, 50])
@pytest.mark.parametrize("top_p", [None, 0.1, 0.5, 0.9, 0.99])
def test_filtering_equals_transformers(top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = 3 * torch.randn(20, 50, dtype=torch.float64)
    expected = TemperatureLogitsWarper(0.7)(None, logits)
    if top_k is not None:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p is not None:
        expected = TopPLogitsWarper(top_p)(None, expected)
    assert torch.equal(filter_logits(logits, temperature=0.7, top_k=top_k, top_p=top_p), expected)


def test_edges_of_filtering():
    assert kept(LOGITS) == [0, 1, 2, 3, 4]
    assert kept(LOGITS, top_k=2) == [1, 2]
    assert kept(LOGITS, top_k=99) == [0, 1, 2, 3, 4]  # more than there are
    assert kept(LOGITS, top_p=1e-9) == [1]
    assert kept(LOGITS, top_p=1.0) == [0, 1, 2, 3, 4]
    assert kept(torch.zeros(1, 4), top_k=2) == [0, 1]  # of equal tokens the first
    assert kept(torch.zeros(1, 4), top_p=0.5) == [0, 1]
    assert kept(torch.tensor([[0.0, -math.inf, 0.0]]), top_k=3) == [0, 2]
    original = LOGITS.clone()
    filter_logits(original, temperature=0.5, top_k=1, top_p=0.5)
    assert torch.equal(original, LOGITS)  # the argument is not changed


def test_top_p_of_one_keeps_even_the_least_likely():
    """Rounding makes the running sum of many float32 probabilities reach 1 before its end."""
    torch.manual_seed(0)
    logits = 6 * torch.randn(4, 20_000)
    assert filter_logits(logits, top_p=1.0).isfinite().all()


def test_top_p_counts_what_top_k_left():
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    assert kept(probabilities.log(), top_k=2, top_p=0.5) == [0]  # 0.4 of 0.7 is more than half
    assert kept(probabilities.log(), top_p=0.5) == [0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected above 0, got 0.0"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": 0}, "top_k: expected at least 1, got 0"),
        ({"top_p": 0.0}, "top_p: expected above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
    ],
)
def test_arguments_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        filter_logits(LOGITS, **settings)
    with pytest.raises(ValueError, match=message):
        next(generate(lambda ids: LOGITS, torch.zeros(1, 1, dtype=torch.long), max_new_tokens=1, **settings))


# --- text -------------------------------------------------------------------------------------------------------------


def language_model():
    torch.manual_seed(0)
    return TransformerLM(LMConfig(vocab_size=20, max_length=8, d_model=16, n_heads=2, n_layers=1, d_ff=32)).eval()


MODEL = language_model()


def tokens(prompt, **settings):
    return torch.stack(list(generate(next_token_logits(MODEL, 8), prompt, max_new_tokens=12, **settings)))


def test_greedy_takes_the_likeliest_each_time():
    model, ids = MODEL, torch.tensor([[3, 1, 4], [1, 5, 9]])
    expected = []
    for _ in range(12):  # longer than the context
        token = model(ids[:, -8:])[:, -1].argmax(dim=-1)
        expected.append(token)
        ids = torch.cat([ids, token[:, None]], dim=1)
    prompt = torch.tensor([[3, 1, 4], [1, 5, 9]])
    assert torch.equal(tokens(prompt, greedy=True), torch.stack(expected))
    assert torch.equal(tokens(prompt, greedy=True, seed=1), torch.stack(expected))  # nothing is drawn
    assert torch.equal(tokens(prompt, top_k=1, seed=2), torch.stack(expected))


def test_a_prompt_longer_than_the_context_is_read_from_its_end():
    long = torch.arange(15)[None] % 20
    assert torch.equal(tokens(long, greedy=True), tokens(long[:, -8:], greedy=True))


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    prompt = torch.tensor([[1, 2]])
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = tokens(prompt, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(tokens(prompt, seed=3), first)
    assert not torch.equal(tokens(prompt, seed=4), first)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    prompt = torch.zeros(20_000, 1, dtype=torch.long)
    drawn = next(generate(lambda ids: LOGITS.expand(len(ids), -1), prompt, max_new_tokens=1, temperature=2.0, seed=1))
    shares = torch.bincount(drawn, minlength=5) / 20_000
    torch.testing.assert_close(shares, (LOGITS[0] / 2).softmax(-1), rtol=0, atol=0.015)


def test_the_model_keeps_its_mode_and_needs_no_gradient():
    model = language_model().train()
    logits = next_token_logits(model, 8)(torch.tensor([[1, 2]]))
    assert model.training
    assert logits.shape == (1, 20)
    assert not logits.requires_grad


@pytest.mark.parametrize("prompt", [torch.zeros(1, 0), torch.zeros(0, 3), torch.zeros(3)])
def test_an_empty_or_misshapen_prompt_is_refused(prompt):
    with pytest.raises(ValueError, match=r"prompt: expected token ids of shape \(B, T\) with T at least 1"):
        next(generate(lambda ids: LOGITS, prompt.long(), max_new_tokens=1))


def test_no_new_tokens_are_none():
    assert list(generate(lambda ids: LOGITS, torch.zeros(1, 1, dtype=torch.long), max_new_tokens=0)) == []
