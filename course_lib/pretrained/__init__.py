"""Pretrained models: where their files are, how they are loaded, and the vectors they make (chapters 2 to 4, 16, 17).

Somebody else has paid for the training; what is left to us is to load the right weights. `checkpoints` finds a
checkpoint by its short name and checks it, `loading` makes a model of it, `layers` makes its body smaller or larger,
`vectors` reads texts with it. Nothing pickled is ever opened.
"""

from course_lib.pretrained.checkpoints import (
    CHECKPOINTS,
    HubCheckpoint,
    PackagedCheckpoint,
    PretrainedError,
    checkpoint_folder,
    locate,
)
from course_lib.pretrained.layers import body_layers, resize_body
from course_lib.pretrained.loading import Loaded, load_causal_lm, load_classifier, load_encoder, load_tokenizer, quiet
from course_lib.pretrained.vectors import embed, whole_words, word_vectors

__all__ = [
    "CHECKPOINTS",
    "HubCheckpoint",
    "Loaded",
    "PackagedCheckpoint",
    "PretrainedError",
    "body_layers",
    "checkpoint_folder",
    "embed",
    "load_causal_lm",
    "load_classifier",
    "load_encoder",
    "load_tokenizer",
    "locate",
    "quiet",
    "resize_body",
    "whole_words",
    "word_vectors",
]
