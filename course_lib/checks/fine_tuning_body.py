"""The self-check of chapter 16 on a frozen body: what trains afterwards, tried on two small classifiers."""

from collections.abc import Callable
from typing import Any

import torch

from course_lib.checks.answers import expect
from course_lib.checks.probe import number


def small_classifier(labels: int = 2) -> Any:
    """A BERT classifier with random weights, small enough to be made for each check."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes: dict[str, Any] = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 4}
    parts: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": labels}
    config = BertConfig(**sizes, **parts)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(16)
        return BertForSequenceClassification(config)


def check_freeze(answer: Callable[[Any], int]) -> str:
    """See which parameters train after the learner's function had the model, and what it counted."""
    for labels in (2, 5):
        model = small_classifier(labels)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        counted = answer(model)
        expect(
            all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters()),
            "the numbers in the model were changed. Freezing leaves them as they are, and keeps them so",
        )
        _what_trains(model)
        _what_was_counted(model, number(counted))
    return "the head alone trains, whatever it is called and however many labels it has; the body keeps what it knows"


def _what_trains(model: Any) -> None:
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {name for name, _ in model.named_parameters() if name.startswith("classifier.")}
    everything = {name for name, _ in model.named_parameters()}
    set_on_module = any(module.__dict__.get("requires_grad") is False for module in model.modules())
    expect(
        not (trains == everything and set_on_module),
        "all still train: a module takes `requires_grad = False` as any new attribute and does nothing with it. Its "
        "method is requires_grad_(False), with an underscore",
    )
    expect(
        trains != everything, "all still train: eval mode and no_grad do not freeze; requires_grad of a parameter does"
    )
    expect(trains, "nothing trains any more, the head included: freeze model.base_model, not the model")
    expect(trains != everything - head, "the wrong half: the head is frozen, and the body trains")
    expect(
        trains != head | {name for name in everything if ".pooler." in name},
        "the pooler still trains. It came with the file, so it belongs to the body: model.base_model has it too",
    )
    left = sorted(trains - head)
    expect(not left, f"of the body, {len(left)} tensors still train, such as {left[0] if left else ''}")
    expect(head <= trains, f"a part of the head is frozen: {sorted(head - trains)}")


def _what_was_counted(model: Any, counted: float) -> None:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    head = sum(size for name, size in sizes.items() if name.startswith("classifier."))
    tensors = sum(parameter.requires_grad for parameter in model.parameters())
    expect(counted != tensors, f"frozen rightly. But {tensors} tensors train; how many numbers are in them?")
    expect(counted != sum(sizes.values()), "frozen rightly. But you counted all numbers of the model, frozen or not")
    expect(counted != sum(sizes.values()) - head, "frozen rightly. But you counted the numbers that do not train")
    expect(counted == head, f"frozen rightly. {head} numbers are left to train; you counted {counted:g}")
