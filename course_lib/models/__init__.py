"""The course's two transformers, built from one attention and one block (chapters 15 and 18 take them apart).

`TransformerClassifier` reads a review and gives two logits. `TransformerLM` reads characters and gives, at each
position, logits for the next one. `attention` holds how tokens exchange information, `blocks` the layer both models
stack. Models know nothing of losses or optimizers.
"""

from course_lib.models.attention import SelfAttention, attention, rotate, sinusoidal_positions
from course_lib.models.blocks import Block, TransformerConfig, check_ids, count_parameters
from course_lib.models.classifier import EncoderConfig, TransformerClassifier, masked_mean
from course_lib.models.language_model import LMConfig, TransformerLM

__all__ = [
    "Block",
    "EncoderConfig",
    "LMConfig",
    "SelfAttention",
    "TransformerClassifier",
    "TransformerConfig",
    "TransformerLM",
    "attention",
    "check_ids",
    "count_parameters",
    "masked_mean",
    "rotate",
    "sinusoidal_positions",
]
