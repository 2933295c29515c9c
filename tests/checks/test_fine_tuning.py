import json
import math
from pathlib import Path

import pytest
import torch

from course_lib.checks import fine_tuning as checks
from course_lib.checks.fine_tuning_body import small_classifier

# --- the answers: the starter, the solution, and what people write instead ---


def forgets_to_return(solution):
    def answer(*case):
        solution(*case)

    return answer


def report_starter(in_file: list, in_model: list, prefix: str) -> tuple: ...


def report_solution(in_file, in_model, prefix):
    missing = [name for name in in_model if name.removeprefix(prefix) not in in_file]
    known = [name.removeprefix(prefix) for name in in_model]
    return missing, [name for name in in_file if name not in known]


def report_by_sets(in_file, in_model, prefix):
    """Right as well: the head carries no prefix, so it is compared as it is; sets for lists."""
    wanted = {name[len(prefix) :] if name.startswith(prefix) else name: name for name in in_model}
    return {wanted[short] for short in wanted.keys() - set(in_file)}, set(in_file) - wanted.keys()


def report_variant(bare):
    def answer(in_file, in_model, prefix):
        names = {name: bare(name, prefix) for name in in_model}
        return [n for n, short in names.items() if short not in in_file], [
            n for n in in_file if n not in names.values()
        ]

    return answer


def only_missing(in_file, in_model, prefix):
    return report_solution(in_file, in_model, prefix)[0], []


def bare_missing(in_file, in_model, prefix):
    missing, unexpected = report_solution(in_file, in_model, prefix)
    return [name.removeprefix(prefix) for name in missing], unexpected


def full_unexpected(in_file, in_model, prefix):
    missing, unexpected = report_solution(in_file, in_model, prefix)
    return missing, [prefix + name for name in unexpected]


REPORTS = {
    "are exchanged": lambda *a: report_solution(*a)[::-1],
    "nearly everything": report_variant(lambda name, prefix: name),
    "lstrip": report_variant(lambda name, prefix: name.lstrip(prefix)),
    "with the prefix": bare_missing,
    "without the prefix": full_unexpected,
    "only what is missing": only_missing,
    "a count does not say": lambda *a: tuple(map(len, report_solution(*a))),
    "two lists": lambda *a: report_solution(*a)[0],
    "is there a return": forgets_to_return(report_solution),
    "you gave": lambda *a: ([], []),
}


def row_starter(step: int, micro_batches: int, accumulation: int, warmup: int, peak: float) -> tuple: ...


def row_solution(step, micro_batches, accumulation, warmup, peak):
    updates = math.ceil(micro_batches / accumulation)
    epoch, done = divmod(step, updates)
    return epoch + done * accumulation / micro_batches, peak * (step - 1) / warmup


def row_by_counting(step, micro_batches, accumulation, warmup, peak):
    """Right as well: goes through the run update by update."""
    read = 0
    for _ in range(step):
        left = micro_batches - read % micro_batches
        read += min(accumulation, left)
    return [read / micro_batches, (step - 1) * (peak / warmup)]


def row(epoch=None, rate=None):
    """The right row but for one column, made of (step, micro-batches, accumulation, warm-up, peak)."""

    def answer(*case):
        right = row_solution(*case)
        return (epoch(*case) if epoch else right[0], rate(*case) if rate else right[1])

    return answer


ROWS = {
    "one step later": row(rate=lambda s, m, a, w, p: p * s / w),
    "carries the lonely": row(epoch=lambda s, m, a, w, p: s * a / m),
    "both columns": row(epoch=lambda s, m, a, w, p: s * a / m, rate=lambda s, m, a, w, p: p * s / w),
    "drops the incomplete": row(epoch=lambda s, m, a, w, p: s // (m // a) + s % (m // a) * a / m),
    "not as much data": row(epoch=lambda s, m, a, w, p: s / math.ceil(m / a)),
    "one micro-batch for each": row(epoch=lambda s, m, a, w, p: s / m),
    "peak from the first": row(rate=lambda s, m, a, w, p: p),
    "are exchanged": lambda *case: row_solution(*case)[::-1],
    "expected epoch and rate": lambda *case: row_solution(*case)[0],
    "is there a return": forgets_to_return(row_solution),
    "you gave epoch": lambda *case: (0.5, 1e-5),
}


def forecast_starter(elapsed: str, done: int, total: int) -> float: ...


def in_seconds(clock):
    return sum(60**place * int(part) for place, part in enumerate(reversed(clock.split(":"))))


def forecast_solution(elapsed, done, total):
    return in_seconds(elapsed) / done * total


def forecast_in_two_parts(elapsed, done, total):
    """Right as well: what was and what will be, rounded to a second."""
    passed = in_seconds(elapsed)
    return round(passed + (total - done) * passed / done)


FORECASTS = {
    "still to come": lambda e, d, t: in_seconds(e) / d * (t - d),
    "time of one step": lambda e, d, t: in_seconds(e) / d,
    "not 18.24": lambda e, d, t: 60 * float(".".join(e.split(":")[-2:])) / d * t,
    "has hours too": lambda e, d, t: in_seconds(":".join(e.split(":")[-2:])) / d * t,
    "in minutes": lambda e, d, t: in_seconds(e) / d * t / 60,
    "are exchanged": lambda e, d, t: in_seconds(e) * d / t,
    "is there a return": forgets_to_return(forecast_solution),
    "you gave": lambda e, d, t: 3600,
}


def freeze_starter(model) -> int: ...


def left(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def freeze_solution(model):
    model.base_model.requires_grad_(False)
    return left(model)


def freeze_by_name(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("classifier")
    return torch.tensor(left(model))


def frozen(part, count=left):
    """Freeze a part of the model and count."""

    def answer(model):
        part(model)
        return count(model)

    return answer


def body(model):
    model.base_model.requires_grad_(False)


def without_underscore(model):
    model.base_model.requires_grad = False


def without_pooler(model):
    model.bert.embeddings.requires_grad_(False)
    model.bert.encoder.requires_grad_(False)


def head_only_bias(model):
    body(model)
    model.classifier.weight.requires_grad_(False)


def zeroed(model):
    for parameter in model.base_model.parameters():
        parameter.data.zero_()


FROZEN = {
    "with an underscore": frozen(without_underscore),
    "eval mode": frozen(lambda model: model.base_model.eval()),
    "nothing trains": frozen(lambda model: model.requires_grad_(False)),
    "wrong half": frozen(lambda model: model.classifier.requires_grad_(False)),
    "the pooler still": frozen(without_pooler),
    "still train, such as": frozen(lambda model: model.bert.embeddings.requires_grad_(False)),
    "part of the head": frozen(head_only_bias),
    "were changed": frozen(zeroed),
    "how many numbers": frozen(body, lambda model: sum(p.requires_grad for p in model.parameters())),
    "all numbers of the model": frozen(body, lambda model: sum(p.numel() for p in model.parameters())),
    "do not train": frozen(body, lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad)),
    "you counted 7": frozen(body, lambda model: 7),
    "is there a return": body,
}

EXERCISES = {
    "load_report": (report_starter, [report_solution, report_by_sets], REPORTS),
    "log_row": (row_starter, [row_solution, row_by_counting], ROWS),
    "forecast": (forecast_starter, [forecast_solution, forecast_in_two_parts], FORECASTS),
    "freeze": (freeze_starter, [freeze_solution, freeze_by_name], FROZEN),
}


# --- what else must hold ---


def test_each_row_of_the_check_lies_in_its_warm_up():
    assert all(1 < step <= warmup for step, _, _, warmup, _ in checks._ROWS)


def test_the_cases_of_the_load_report_hold_an_expected_head_an_alarm_and_nothing():
    reports = [report_solution(*case) for case in checks._FILES]
    assert reports[0] == (["classifier.weight"], [])
    assert "bert.encoder.1.weight" in reports[1][0]
    assert len(reports[1][1]) == 2
    assert reports[2] == ([], [])


def test_the_small_classifier_is_the_same_each_time_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    first, second = small_classifier(), small_classifier()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert freeze_solution(small_classifier(5)) == 8 * 5 + 5


@pytest.mark.parametrize(("clock", "seconds"), [("18:24", 1104), ("1:02:03", 3723), ("00:05", 5)])
def test_clocks_are_read(clock, seconds):
    assert checks._seconds(clock) == in_seconds(clock) == seconds


def quiz() -> list[dict]:
    path = Path(__file__).parents[2] / "notebooks" / "quiz" / "16_fine_tuning.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_quiz_numbers_are_right():
    right = [a["value"] for q in quiz() for a in q["answers"] if q["type"] == "numeric" and a.get("correct")]
    # 64 micro-batches make 22 updates an epoch.
    assert right == [4 * math.ceil(math.ceil(1010 / 16) / 3)]
    assert "1,010 reviews" in quiz()[0]["question"]
