"""Tests of course_lib.finetuning.predict: what a run saved is read as it was trained, and nothing else is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoints import save_body

from course_lib.checkpoints import CheckpointError, save_weights
from course_lib.finetuning.predict import classifier_of, load_saved
from course_lib.models import EncoderConfig, LMConfig, TransformerClassifier
from course_lib.pretrained import PretrainedError, load_classifier
from course_lib.recipes.system import save_parts
from course_lib.tokenization import WordTokenizer

TEXTS = ["a fine film", "bad", "word " * 40, "the plot is thin , but the cast saves it"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with a head, whose tokenizer was told to cut at 10, as a run leaves it."""
    folder = tmp_path_factory.mktemp("tuned")
    loaded = load_classifier(save_body(folder, "classifier"))
    loaded.model.config.id2label = {0: "negative", 1: "positive"}
    loaded.tokenizer.model_max_length = 10
    loaded.model.classifier.weight.data *= 200  # so that probabilities differ from one half
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TransformerClassifier, WordTokenizer]:
    """What a run of encoder-imdb leaves."""
    folder = tmp_path_factory.mktemp("scratch")
    tokenizer = WordTokenizer.fit(["a fine film", "a bad film", "the plot is thin"], size=20)
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size, max_length=6, d_model=16, n_heads=2, n_layers=1, d_ff=16, dropout=0.0
    )
    torch.manual_seed(0)
    model = TransformerClassifier(config).eval()
    save_parts(folder, tokenizer, config)
    save_weights(folder / "model.safetensors", model.state_dict())
    return folder, model, tokenizer


def test_answers_are_those_of_the_model_cut_where_it_was_trained_to(tuned: Path) -> None:
    classifier = load_saved(tuned)
    loaded = load_classifier(tuned)
    for text, answer in zip(TEXTS, classifier.predict(TEXTS), strict=True):
        batch = loaded.tokenizer(text, truncation=True, max_length=10, return_tensors="pt")
        with torch.no_grad():
            shares = loaded.model(**batch).logits.softmax(-1)[0]
        assert answer.label == int(shares.argmax())
        assert answer.name == ("negative", "positive")[answer.label]
        assert answer.probability == pytest.approx(float(shares.max()), abs=1e-5)
    assert [answer.tokens for answer in classifier.predict(TEXTS)] == [5, 3, 42, 12]
    assert [answer.cut for answer in classifier.predict(TEXTS)] == [False, False, True, True]
    assert len({round(answer.probability, 4) for answer in classifier.predict(TEXTS)}) == 4


def test_order_and_neighbors_change_nothing_and_the_mode_comes_back(tuned: Path) -> None:
    classifier = load_saved(tuned)
    texts = [f"{'very ' * (i % 7)}fine film number {i}" for i in range(70)]  # more than two batches, mixed in length
    together = classifier.logits(texts)
    torch.testing.assert_close(together, torch.cat([classifier.logits([t]) for t in texts]), rtol=0, atol=1e-5)
    torch.testing.assert_close(classifier.logits(texts[::-1]).flip(0), together, rtol=0, atol=1e-5)
    classifier.model.train()
    torch.testing.assert_close(classifier.logits(texts), together, rtol=0, atol=1e-6)
    assert classifier.model.training


def test_the_limit_is_the_positions_at_most(tuned: Path) -> None:
    loaded = load_classifier(tuned)
    assert classifier_of(loaded.model, loaded.tokenizer).max_length == 10
    assert classifier_of(loaded.model, loaded.tokenizer, 20).max_length == 20
    assert classifier_of(loaded.model, loaded.tokenizer, 9999).max_length == 512
    long = classifier_of(loaded.model, loaded.tokenizer, 9999).predict(["word " * 2000])[0]
    assert (long.tokens, long.cut) == (2002, True)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused_by_its_number(tuned: Path, text: str) -> None:
    with pytest.raises(ValueError, match="text 2: expected words to judge; got an empty text"):
        load_saved(tuned).predict(["fine", text])


def test_a_model_from_scratch_is_read_too(scratch: tuple[Path, TransformerClassifier, WordTokenizer]) -> None:
    folder, model, tokenizer = scratch
    classifier = load_saved(folder)
    for text in ("a fine film", "the plot is thin and thin and thin"):
        ids = tokenizer.encode(text)[:6]
        with torch.no_grad():
            shares = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool)).softmax(-1)[0]
        answer = classifier.predict([text])[0]
        assert answer.label == int(shares.argmax())
        assert answer.probability == pytest.approx(float(shares.max()), abs=1e-5)
        assert answer.name == ("negative", "positive")[answer.label]
        assert answer.cut is (len(tokenizer.encode(text)) > 6)


def refused(folder: Path, message: str, error: type[Exception] = PretrainedError) -> None:
    with pytest.raises(error, match=message):
        load_saved(folder)


def test_a_folder_that_holds_no_classifier_is_refused(tuned: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", r"expected the folder of a finished classifier.*run distilbert-imdb")
    refused(tmp_path, "expected the folder of a finished classifier")
    body = save_body(tmp_path / "body")
    refused(body, "expected a classifier; it holds BertModel, which has no labels")
    copy = tmp_path / "copy"
    shutil.copytree(tuned, copy)
    for text in ("{", "[]", "null", '{"architectures": null}', '{"architectures": 3}'):
        (copy / "config.json").write_text(text)
        refused(copy, "expected the folder of a finished classifier")


def test_a_head_that_is_missing_is_not_made_up(tuned: Path, tmp_path: Path) -> None:
    body = save_body(tmp_path)
    config = json.loads((body / "config.json").read_text())
    (body / "config.json").write_text(json.dumps(config | {"architectures": ["BertForSequenceClassification"]}))
    refused(body, r"no weights for classifier\.bias, classifier\.weight; they would be random")


def test_a_damaged_folder_of_a_model_from_scratch_is_named(
    scratch: tuple[Path, TransformerClassifier, WordTokenizer], tmp_path: Path
) -> None:
    def copied(name: str, **sizes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(scratch[0], folder)
        content = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(content | sizes))
        return folder

    refused(copied("language", model=LMConfig.__name__), "it is a language model, which has no labels")
    refused(copied("unknown", wings=2), r"model\.json: expected the sizes of a classifier")
    (folder := copied("empty")).joinpath("model.json").write_text("[]")
    refused(folder, r"model\.json: expected the sizes of a classifier")
    (folder := copied("words")).joinpath("tokenizer.json").unlink()
    refused(folder, "expected the sizes of a classifier")
    (folder := copied("weights")).joinpath("model.safetensors").write_bytes(b"half")
    refused(folder, r"model\.safetensors", CheckpointError)
    refused(copied("smaller", d_ff=8), r"model\.safetensors", CheckpointError)
