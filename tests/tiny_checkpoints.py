"""Small random checkpoints in the layouts that transformers reads: a folder, and the hub's cache."""

from functools import cache
from pathlib import Path
from typing import Any

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    set_seed,
)

from course_lib.pretrained import load_tokenizer, quiet

BERT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DISTILBERT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
GPT2: dict[str, Any] = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@cache
def _tokenizer() -> Any:
    return load_tokenizer("minilm")


def save_body(folder: Path, kind: str = "bert", **sizes: Any) -> Path:
    """Write a small random model with MiniLM's tokenizer, as `save_pretrained` does."""
    tokenizer = _tokenizer()
    set_seed(0)
    model = {
        "bert": lambda: BertModel(BertConfig(vocab_size=len(tokenizer), **(BERT | sizes))),
        "distilbert": lambda: DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **(DISTILBERT | sizes))),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **(GPT2 | sizes))),
        "classifier": lambda: BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **(BERT | sizes))),
    }[kind]()
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_as_hub_cache(cache: Path, repository: str, kind: str) -> Path:
    """Write a small random model where an earlier download from the hub would have left it."""
    commit = "0" * 40
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    return save_body(home / "snapshots" / commit, kind)
