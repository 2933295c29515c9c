"""Where a classifier's first layer looks: shares that the layer really mixes with."""

import pytest
import torch

from course_lib.models import EncoderConfig, TransformerClassifier
from course_lib.sentiment.attention import attention_received


class TestAttentionReceived:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        config = EncoderConfig(vocab_size=20, d_model=16, d_ff=32, n_layers=2, n_heads=4, max_length=6)
        return TransformerClassifier(config)

    def test_shares_of_each_token_read_add_up_to_one(self, model):
        shares = attention_received(model, [3, 7, 7, 19])
        assert shares.shape == (4,)
        assert shares.min() > 0
        assert shares.sum() == pytest.approx(1)
        assert shares.max() - shares.min() > 1e-3
        assert attention_received(model, [3] * 9).shape == (6,), "what goes beyond max_length is not read"

    def test_equal_scores_make_the_shares_even(self, model):
        with torch.no_grad():
            model.blocks[0].attention.qkv.weight[:16] = 0
            model.blocks[0].attention.qkv.bias[:16] = 0
        assert attention_received(model, [3, 7, 7, 19]).tolist() == pytest.approx([0.25] * 4)

    def test_are_those_that_the_layer_mixes_with(self):
        # With one head, mixing by the mean weights gives the mean of what the layer gives out.
        config = EncoderConfig(vocab_size=20, d_model=16, d_ff=32, n_layers=1, n_heads=1, max_length=6)
        model = TransformerClassifier(config).eval()
        layer, ids, outputs = model.blocks[0].attention, [3, 7, 19], []
        layer.register_forward_hook(lambda module, given, out: outputs.append((given[0], out)))
        shares = attention_received(model, ids)
        with torch.no_grad():
            x, out = outputs[0]
            values = layer.qkv(x)[0, :, 32:]  # (T, C)
            mixed = layer.out(shares @ values)  # (C,), the mean over all tokens that look
        assert torch.allclose(out[0].mean(dim=0), mixed, atol=1e-5)

    def test_leaves_the_model_as_it_was(self, model):
        model.train()
        attention_received(model, [3, 7])
        assert model.training
        assert not model.blocks[0].attention._forward_pre_hooks

    def test_an_empty_text_is_refused(self, model):
        with pytest.raises(ValueError, match="at least one token"):
            attention_received(model, [])
