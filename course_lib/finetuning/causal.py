"""`fine_tune_causal_lm`: a pretrained language model goes on learning to predict the next token (chapters 16 and 18).

Shape legend: B blocks in a batch, T tokens in a block, V vocabulary.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib import metrics
from course_lib.data import IGNORE_INDEX, DataError
from course_lib.finetuning.config import FineTuneConfig
from course_lib.finetuning.run import FineTuned, Watching, run_trainer
from course_lib.finetuning.scores import check_best_metric
from course_lib.hardware import Hardware, detect
from course_lib.losses import cross_entropy
from course_lib.pretrained import Loaded, load_causal_lm


def fine_tune_causal_lm(
    train: str,
    validation: str | None = None,
    *,
    checkpoint: str | Path | Loaded = "distilgpt2",
    config: FineTuneConfig | None = None,
    hardware: Hardware | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    watching: Watching | None = None,
    run: dict[str, Any] | None = None,
) -> FineTuned:
    """Fine-tune a pretrained language model on a text.

    Args:
        train: the text to learn from. It is cut into blocks of `config.max_length` tokens; the last one may be shorter.
        validation: a text that is only measured; None measures nothing.
        checkpoint: a short name of `pretrained.CHECKPOINTS`, a folder, or a model that is loaded already.
        config: None is `FineTuneConfig(best_metric="loss")`; its best_metric is "loss", "loss_per_token",
            "perplexity_per_token" or None.
        hardware: None is what `hardware.detect()` finds.
        out: folder for record, checkpoints and model; None writes nothing, and the model ends with its last weights.
        resume: go on from the newest whole checkpoint in `out`.
        watching: who is told what while it runs.
        run: what else the record should say.

    Returns:
        As `fine_tune_classifier`. The figures have eval_loss_per_token, in nats, every predicted token counting once,
        and eval_perplexity_per_token. (`eval_loss` is Trainer's: a mean over blocks, in which the tokens of a short
        last block count more.)

    Raises:
        DataError: a text is too short to predict anything.
        ValueError: no evaluation gives the best_metric.
        PretrainedError, CheckpointError, OutputError, DivergenceError: as `fine_tune_classifier`.
    """
    chosen = config or FineTuneConfig(best_metric="loss")
    check_best_metric(chosen.best_metric, _scores(nats=1.0, count=1))
    loaded = checkpoint if isinstance(checkpoint, Loaded) else load_causal_lm(checkpoint)
    positions = loaded.model.config.max_position_embeddings
    if chosen.max_length > positions:
        raise DataError(f"max_length: expected at most {positions}, the model's positions; got {chosen.max_length}")
    return run_trainer(
        loaded,
        text_blocks("training", train, loaded.tokenizer, chosen.max_length),
        None if validation is None else text_blocks("validation", validation, loaded.tokenizer, chosen.max_length),
        chosen,
        hardware or detect(),
        collate=collate_blocks,
        loss=next_token_loss,
        scores=token_scores,
        reduce_logits=block_losses,
        out=out,
        resume=resume,
        watching=watching,
        run={"checkpoint": "given" if isinstance(checkpoint, Loaded) else str(checkpoint), **(run or {})},
    )


def text_blocks(part: str, text: str, tokenizer: Any, length: int) -> list[dict[str, list[int]]]:
    """Cut a text into blocks; no token is lost, and each but the first of a block is predicted once.

    The labels are the tokens themselves: the shift by one belongs to the loss, and happens there alone. The first token
    of a block has nothing before it, so its label is IGNORE_INDEX, which keeps the count of predictions right.

    Args:
        part: what to call the text in an error.
        text: the text.
        tokenizer: of the model.
        length: T, tokens in a block.

    Raises:
        DataError: there are fewer than two tokens.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < 2:
        raise DataError(f"{part} text: expected at least two tokens, one to predict from the other; got {len(ids)}")
    blocks = [ids[i : i + length] for i in range(0, len(ids), length)]
    if len(blocks[-1]) == 1:  # a single token predicts nothing by itself: it goes with the block before
        last = blocks.pop()
        *rest, moved = blocks.pop()
        blocks += [rest, [moved, *last]]
    return [{"input_ids": block, "labels": [IGNORE_INDEX, *block[1:]]} for block in blocks]


def collate_blocks(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Make a batch of blocks; a shorter one is filled up at its end, masked, and its filling is no target."""
    length = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": IGNORE_INDEX}
    batch = {
        name: torch.tensor([row[name] + [value] * (length - len(row[name])) for row in rows])  # (B, T)
        for name, value in fill.items()
    }
    real = [[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in rows]
    return {**batch, "attention_mask": torch.tensor(real)}


def next_token_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """The loss of a batch: logits at each position against the token after it, summed and divided once.

    Args:
        outputs: of the model; `.logits` (B, T, V).
        labels: (B, T), not shifted.
        num_items_in_batch: predictions of the whole update, as Trainer counts the labels; None takes this batch's.
    """
    logits, targets = outputs.logits[:, :-1], labels[:, 1:]  # (B, T-1, V), (B, T-1)
    if num_items_in_batch is None:
        return cross_entropy(logits, targets, ignore_index=IGNORE_INDEX)
    return cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="sum") / num_items_in_batch


def block_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Trainer's preprocess_logits_for_metrics: of each block, its summed loss and its predictions, (B, 2)."""
    shifted, targets = logits[:, :-1].float(), labels[:, 1:]  # (B, T-1, V), (B, T-1)
    nats = torch.nn.functional.cross_entropy(
        shifted.transpose(1, 2), targets, ignore_index=IGNORE_INDEX, reduction="none"
    )  # (B, T-1)
    return torch.stack([nats.sum(dim=1), (targets != IGNORE_INDEX).sum(dim=1)], dim=1)


def token_scores(prediction: Any) -> dict[str, float]:
    """Trainer's compute_metrics: the mean over all predicted tokens, and its perplexity."""
    return _scores(*prediction.predictions.sum(axis=0, dtype=np.float64).tolist())


def _scores(nats: float, count: float) -> dict[str, float]:
    mean = nats / count if count else math.nan
    return {
        "loss_per_token": mean,
        "perplexity_per_token": math.nan if math.isnan(mean) else metrics.perplexity(mean),
    }


def predicted_tokens(blocks: Sequence[dict[str, list[int]]]) -> int:
    """How many tokens the blocks ask for."""
    return sum(label != IGNORE_INDEX for block in blocks for label in block["labels"])
