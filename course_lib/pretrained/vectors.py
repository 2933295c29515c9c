"""The vectors that a pretrained encoder makes of texts and words (chapters 2 to 4).

Legend: N texts, B texts in a batch, T tokens, C features, W words, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def embed(texts: Sequence[str], model: Any, tokenizer: Any, *, batch_size: int = 64, max_length: int = 128) -> Tensor:
    """Turn each text into one vector of length 1: the mean of its tokens' last hidden states, padding left out.

    That is what the package's `1_Pooling/config.json` and `modules.json` ask for: mean of all tokens, the special ones
    included, then L2 normalization. So the dot product of two vectors is their cosine similarity.

    Args:
        texts: N texts; an empty one is allowed.
        model: an encoder from `load_encoder`; its dropout is off while this runs, whatever mode it is in.
        tokenizer: the tokenizer that came with it.
        batch_size: B, texts in a forward pass; it changes time and memory, and the numbers by rounding only.
        max_length: the most tokens to read of a text, its two special ones included; the rest is cut off.

    Returns:
        (N, C), fp32 on the CPU, in the order of the texts, without gradients.

    Raises:
        ValueError: texts is no list of texts, or batch_size or max_length is out of range.

    Source: Reimers and Gurevych, "Sentence-BERT" (2019), section 3, strategy MEAN.
    """
    _check_texts("texts", texts)
    limit = model.config.max_position_embeddings
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if not 3 <= max_length <= limit:
        raise ValueError(f"max_length must be from 3 to {limit}, the positions that the model has; got {max_length}")
    vectors = torch.zeros(len(texts), model.config.hidden_size)  # (N, C)
    # Texts of similar length share a batch, since padding costs as much as text does.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            vectors[rows] = _embed_batch([texts[i] for i in rows], model, tokenizer, max_length)
    finally:
        model.train(training)
    return vectors


@torch.no_grad()
def _embed_batch(texts: list[str], model: Any, tokenizer: Any, max_length: int) -> Tensor:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(model.device)
    hidden = model(**batch).last_hidden_state.float()  # (B, T, C)
    mask = batch["attention_mask"].unsqueeze(-1)  # (B, T) -> (B, T, 1)
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (B, C) / (B, 1); [CLS] and [SEP] keep the sum above 0
    return torch.nn.functional.normalize(mean, dim=1).cpu()  # (B, C)


def word_vectors(words: Sequence[str], model: Any, tokenizer: Any) -> Tensor:
    """Look up the input embedding of whole words: the vector of a word before any context, and not normalized.

    Args:
        words: W words, each one entry of the vocabulary (see `whole_words`).
        model: a pretrained model.
        tokenizer: the tokenizer that came with it.

    Returns:
        (W, C), a copy on the CPU, without gradients.

    Raises:
        ValueError: a word is no single entry of the vocabulary; the message shows its pieces.
    """
    _check_texts("words", words)
    ids = []
    for word in words:
        pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id:
            shown = " ".join(tokenizer.convert_ids_to_tokens(pieces)) or "nothing"
            raise ValueError(f"{word!r} is no single entry of the vocabulary; the tokenizer makes of it: {shown}")
        ids.append(pieces[0])
    table = model.get_input_embeddings().weight.detach()  # (V, C)
    return table[torch.tensor(ids, dtype=torch.long, device=table.device)].clone().cpu()  # (W, C)


def whole_words(tokenizer: Any) -> list[str]:
    """List the entries of a WordPiece vocabulary that are words of letters, in the order of their ids.

    Pieces that continue a word ("##ing"), special entries, digits and symbols are left out.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return [entry for entry in sorted(vocabulary, key=vocabulary.__getitem__) if entry.isalpha()]


def _check_texts(name: str, values: Sequence[str]) -> None:
    if isinstance(values, str):
        raise ValueError(f"{name} must be a list; got one text: put it into a list")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"{name}[{number}] must be a text; got {type(value).__name__} (a Review has it in .text)")
