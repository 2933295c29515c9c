"""A smaller or larger body from one checkpoint: some of its layers, or all of them more than once (chapter 17)."""

import copy
from typing import Any

from torch import nn

_LAYERS = ("layer", "h")  # what BERT and DistilBERT, and GPT-2, call the list of their blocks
_COUNTS = ("num_hidden_layers", "n_layers", "n_layer")  # and its length, in their configurations


def body_layers(model: Any) -> nn.ModuleList:
    """Find the list of blocks in the body of a pretrained model.

    Raises:
        ValueError: it has none that the course knows.
    """
    body = model.base_model
    for part in (body, getattr(body, "encoder", None), getattr(body, "transformer", None)):
        for name in _LAYERS:
            if isinstance(found := getattr(part, name, None), nn.ModuleList):
                return found
    raise ValueError(f"model: expected a body with a list of layers, as BERT, DistilBERT or GPT-2; got {type(model)}")


def resize_body(model: Any, layers: int) -> Any:
    """Give a pretrained model another number of layers, taken from its own.

    Fewer: every second (third, ...) layer, from the first on, as DistilBERT was started from BERT. More: the stack of
    all layers again on top, as often as it takes; each copy learns on its own.

    Args:
        model: a pretrained model; changed in place, its configuration too, so that it loads again after saving.
        layers: how many it shall have; a divisor or a multiple of what it has.

    Returns:
        The model.

    Raises:
        ValueError: layers is neither a divisor nor a multiple.

    Source: Sanh et al., "DistilBERT" (2019), section 3 (one layer out of two); Gong et al., "Efficient training of BERT
        by progressively stacking" (2019), section 3.
    """
    stack = body_layers(model)
    had = len(stack)
    if layers < 1 or (had % layers and layers % had):
        raise ValueError(f"layers: expected a divisor or a multiple of the {had} that the body has; got {layers}")
    if layers < had:
        kept = [stack[i] for i in range(0, had, had // layers)]
    else:
        kept = [stack[i % had] if i < had else copy.deepcopy(stack[i % had]) for i in range(layers)]
    del stack[:]
    stack.extend(kept)
    for number, layer in enumerate(kept):
        parts: list[Any] = list(layer.modules())
        for part in parts:
            if hasattr(part, "layer_idx"):  # the place where a cache keeps the keys of this layer
                part.layer_idx = number
    for name in _COUNTS:
        if hasattr(model.config, name):
            setattr(model.config, name, layers)
    return model
