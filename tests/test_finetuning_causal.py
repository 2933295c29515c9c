"""Tests of course_lib.finetuning.causal: no token is lost, each is predicted once, and the shift happens once."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_checkpoints import save_body

from course_lib.data import IGNORE_INDEX, DataError
from course_lib.finetuning import FineTuneConfig, FineTuned, fine_tune_causal_lm
from course_lib.finetuning.causal import (
    block_losses,
    collate_blocks,
    next_token_loss,
    predicted_tokens,
    text_blocks,
    token_scores,
)
from course_lib.hardware import detect
from course_lib.pretrained import Loaded, load_causal_lm
from course_lib.training import DivergenceError

CPU = detect("cpu")
TRAIN = "the cat sat on the mat and the dog sat on the cat . " * 20
VALIDATION = "the dog sat on the mat and the cat sat on the dog . the cat"  # 16 words: blocks of 7 leave two


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_causal_lm(save_body(tmp_path_factory.mktemp("gpt2"), "gpt2"))


def fresh(loaded: Loaded) -> Loaded:
    import copy

    return loaded._replace(model=copy.deepcopy(loaded.model))


def tune(loaded: Loaded, out: Path | None = None, validation: str | None = VALIDATION, **changes: Any) -> FineTuned:
    given = {
        "epochs": 2,
        "batch_size": 4,
        "max_length": 7,
        "learning_rate": 3e-3,
        "log_every": 1,
        "best_metric": "loss",
    }
    config = FineTuneConfig(**{**given, **changes})
    return fine_tune_causal_lm(TRAIN, validation, checkpoint=fresh(loaded), config=config, hardware=CPU, out=out)


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", range(2, 16))
def test_no_token_is_lost_and_each_but_the_first_of_a_block_is_predicted_once(loaded: Loaded, words: int) -> None:
    text = " ".join(
        ["the", "cat", "sat", "on", "a", "mat", "and", "one", "dog", "went", "by", "it", "so", "they", "ran"][:words]
    )
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    blocks = text_blocks("training", text, loaded.tokenizer, 5)
    assert [token for block in blocks for token in block["input_ids"]] == ids
    assert all(2 <= len(block["input_ids"]) <= 5 for block in blocks), "a block of one predicts nothing"
    for block in blocks:
        assert block["labels"] == [IGNORE_INDEX, *block["input_ids"][1:]]
    assert predicted_tokens(blocks) == words - len(blocks)


@pytest.mark.parametrize("text", ["", "word"])
def test_a_text_that_predicts_nothing_is_refused(loaded: Loaded, text: str) -> None:
    with pytest.raises(DataError, match=f"validation text: expected at least two tokens.*got {len(text.split())}"):
        text_blocks("validation", text, loaded.tokenizer, 5)


def test_padding_is_masked_and_is_no_target() -> None:
    batch = collate_blocks(
        [{"input_ids": [5, 6, 7], "labels": [IGNORE_INDEX, 6, 7]}, {"input_ids": [8, 9], "labels": [IGNORE_INDEX, 9]}]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORE_INDEX, 6, 7], [IGNORE_INDEX, 9, IGNORE_INDEX]]


# --- the shift ------------------------------------------------------------------------------------------------------


def knows_the_next(ids: list[int], ahead: int, vocabulary: int = 12) -> Any:
    """Logits (1, T, V) of an oracle that is sure, at each position, of the token so many places ahead."""
    logits = torch.zeros(1, len(ids), vocabulary)
    for position in range(len(ids) - ahead):
        logits[0, position, ids[position + ahead]] = 30.0
    return SimpleNamespace(logits=logits)


def test_the_labels_are_shifted_once_and_not_twice() -> None:
    ids = [3, 7, 1, 9, 4, 8]
    labels = collate_blocks([{"input_ids": ids, "labels": [IGNORE_INDEX, *ids[1:]]}])["labels"]
    assert next_token_loss(knows_the_next(ids, 1), labels) < 1e-6
    assert next_token_loss(knows_the_next(ids, 0), labels) > 10, "a missing shift rewards copying the token"
    assert next_token_loss(knows_the_next(ids, 2), labels) > 10, "a double shift rewards the one after the next"
    shifted_before = torch.tensor([[*ids[1:], IGNORE_INDEX]])  # what labels that were shifted already would cost
    assert next_token_loss(knows_the_next(ids, 1), shifted_before) > 10


def test_the_loss_is_that_of_transformers(loaded: Loaded) -> None:
    batch = collate_blocks(text_blocks("training", VALIDATION, loaded.tokenizer, 7))
    with torch.no_grad():
        outputs = loaded.model(**batch)
    assert float(next_token_loss(outputs, batch["labels"])) == pytest.approx(float(outputs.loss), abs=1e-6)


def test_accumulated_shares_add_up_to_the_loss_of_one_large_batch(loaded: Loaded) -> None:
    blocks = text_blocks("training", VALIDATION, loaded.tokenizer, 7)
    count = predicted_tokens(blocks)
    assert [len(block["input_ids"]) for block in blocks] == [7, 7, 2], "a ragged tail, or the test shows nothing"

    def loss_of(rows: list[Any], items: int | None) -> torch.Tensor:
        batch = collate_blocks(rows)
        return next_token_loss(loaded.model(**batch), batch["labels"], items)

    with torch.no_grad():
        shares = sum(float(loss_of([block], count)) for block in blocks)
        means = sum(float(loss_of([block], None)) for block in blocks) / len(blocks)
        together = float(loss_of(blocks, None))
    assert shares == pytest.approx(together, abs=1e-5)
    assert abs(means - together) > 1e-3, "a mean of means is another number"


# --- whole runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTuned, Path]:
    out = tmp_path_factory.mktemp("causal")
    return tune(loaded, out, eval_batch_size=2), out


def by_hand(model: Any, tokenizer: Any) -> float:
    """Every predicted token of the validation text counts once, block by block, without padding."""
    ids = tokenizer(VALIDATION, add_special_tokens=False)["input_ids"]
    nats, count = 0.0, 0
    for start in range(0, len(ids), 7):
        block = torch.tensor([ids[start : start + 7]])
        with torch.no_grad():
            logits = model(block).logits.double().log_softmax(-1)
        for position in range(block.shape[1] - 1):
            nats -= float(logits[0, position, block[0, position + 1]])
            count += 1
    return nats / count


def test_it_learns_and_its_loss_a_token_is_that_of_a_hand_computation(done: tuple[FineTuned, Path]) -> None:
    tuned, _ = done
    losses = tuned.record["train_loss"]
    assert losses[0] == pytest.approx(math.log(30522), abs=0.3)
    assert losses[-1] < losses[0] - 1
    expected = by_hand(tuned.model, tuned.tokenizer)
    assert tuned.figures["eval_loss_per_token"] == pytest.approx(expected, abs=1e-5)
    assert tuned.figures["eval_perplexity_per_token"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert abs(tuned.figures["eval_loss"] - expected) > 1e-4, "Trainer's mean over batches counts the tail more"


def test_what_was_saved_loads_again_with_nothing_new(done: tuple[FineTuned, Path]) -> None:
    tuned, out = done
    again = load_causal_lm(out)
    assert again.new == (), "the output layer shares the input's weights"
    assert by_hand(again.model, again.tokenizer) == pytest.approx(by_hand(tuned.model, tuned.tokenizer), abs=1e-6)


def test_accumulation_makes_the_same_first_update_as_one_large_batch(loaded: Loaded) -> None:
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            assert module.p == 0.1
    quiet = fresh(loaded)
    for module in quiet.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    large = tune(quiet, validation=None, batch_size=8, max_steps=2)
    parts = tune(quiet, validation=None, batch_size=2, accumulation=4, max_steps=2)
    assert parts.record["train_loss"] == pytest.approx(large.record["train_loss"], abs=1e-4)
    assert parts.record["grad_norm"] == pytest.approx(large.record["grad_norm"], rel=1e-3)


def test_the_best_loss_a_token_is_the_smallest(loaded: Loaded, tmp_path: Path) -> None:
    # A rate so high that it ends worse than it began: the smallest loss is an early one.
    tuned = tune(loaded, tmp_path, best_metric="loss_per_token", learning_rate=0.3, schedule="constant", epochs=3)
    column = tuned.record["eval_loss_per_token"]
    values = {step: value for step, value in zip(tuned.record["steps"], column, strict=True) if value is not None}
    assert len(values) == 3
    assert tuned.record.run["best_step"] == min(values, key=lambda step: values[step])
    assert tuned.figures["eval_loss_per_token"] == min(values.values())


def test_the_scores_are_summed_and_divided_once() -> None:
    logits = torch.zeros(2, 3, 5)
    labels = torch.tensor([[IGNORE_INDEX, 1, 2], [IGNORE_INDEX, 3, IGNORE_INDEX]])
    logits[1, 0, 3] = math.log(4)  # the second block's only prediction has probability 1/2
    parts = block_losses(logits, labels)
    torch.testing.assert_close(parts, torch.tensor([[2 * math.log(5), 2.0], [math.log(2), 1.0]]))
    scores = token_scores(SimpleNamespace(predictions=parts.numpy()))
    assert scores["loss_per_token"] == pytest.approx((2 * math.log(5) + math.log(2)) / 3)
    assert scores["perplexity_per_token"] == pytest.approx((25 * 2) ** (1 / 3))


def test_a_diverged_model_is_named_as_such_even_if_it_is_evaluated_first(loaded: Loaded) -> None:
    with pytest.raises(DivergenceError, match=r"eval_loss is (nan|inf)"):
        tune(loaded, learning_rate=1e38, clip_norm=None, schedule="constant", log_every=1000, eval_every=3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_length": 65}, DataError, "max_length: expected at most 64, the model's positions; got 65"),
        ({"best_metric": "f1_weighted"}, ValueError, "best_metric: expected one of loss, loss_per_token, perplexity"),
    ],
)
def test_what_does_not_fit_is_refused(loaded: Loaded, changes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tune(loaded, **changes)
