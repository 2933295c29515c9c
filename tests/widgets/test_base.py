"""What every widget promises: one state on all sides, a message for a wrong value, and a page that stands alone."""

import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import quickjs
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.widgets import (
    LearningRateExplorer,
    LossExplorer,
    OptimizerPlayground,
    ScheduleExplorer,
    ThresholdExplorer,
    base,
)
from course_lib.widgets.base import CourseWidget, module_source, run, script_source, stylesheet

WIDGETS = [LossExplorer, OptimizerPlayground, ScheduleExplorer, LearningRateExplorer, ThresholdExplorer]
RECORDED = {"data", "live", "plane"}  # a page needs the recording, which the file itself does not hold
VOID = {"input", "br", "meta", "link", "img", "hr"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><b>&amp;",
    "\u2028\u2029<!--",
    "<svg onload=x>",
    "`${1}`\\",
    "é😀",
]


class Page(HTMLParser):
    """Reads HTML strictly: each tag is closed where it was opened. Keeps what the tests ask about."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.labeled, self.text, self.ids = [], [], [], {}, {}
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f"<{tag}> says something twice: {names}"
        element = (tag, dict(attributes))
        self.elements.append(element)
        if tag in ("input", "select"):
            self.labeled.append((element, next((depth for depth, t in enumerate(self.open) if t == "label"), None)))
        if tag == "rect" and self.open[-1] == "clippath":
            self.ids.setdefault(self.elements[-2][1]["id"], set()).add(str(sorted(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def message(self):
        """The alert, or None when it is hidden."""
        (alert,) = [attributes for _, attributes in self.elements if attributes.get("role") == "alert"]
        return None if "hidden" in alert else alert


def markup(widget, **change):
    """The widget's picture for a state that only a front end could send, with no trait in the way."""
    return run(widget._name, "markup(exported.parts, state)", state={**widget().current_state(), **change})


def message(html):
    """The text of the alert, as a reader sees it; None when there is nothing to say."""
    found = re.search(r'<p class="wit-message" role="alert"( hidden)?>(.*?)</p>', html)
    plain = found[2].replace("<br>", "\n")
    for name, character in {"&quot;": '"', "&lt;": "<", "&gt;": ">", "&amp;": "&"}.items():
        plain = plain.replace(name, character)
    assert bool(found[1]) == (plain == "")
    return plain or None


# --- one state on all sides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widget", WIDGETS)
def test_python_and_the_file_start_from_one_state(widget):
    defaults = run(widget._name, "defaults")
    state = widget().current_state()
    assert list(state) == list(defaults)
    assert {key: state[key] for key in defaults.keys() - RECORDED} == {
        key: defaults[key] for key in defaults.keys() - RECORDED
    }
    synced = {name for name in widget.class_trait_names(sync=True) if name in widget.class_own_traits()}
    assert synced == set(defaults)


@pytest.mark.parametrize("widget", WIDGETS)
def test_two_of_a_kind_share_no_state(widget):
    first, second = widget(), widget()
    for key, value in first.current_state().items():
        if isinstance(value, list | dict) and value:
            value.clear()
            assert second.current_state()[key] != value


@pytest.mark.parametrize("widget", WIDGETS)
def test_an_unknown_name_is_refused_with_the_known_ones(widget):
    with pytest.raises(TypeError) as refusal:
        widget(colour="red", wrong=1)
    assert str(refusal.value).endswith("got colour, wrong")
    assert ", ".join(run(widget._name, "Object.keys(defaults)")) in str(refusal.value)


@pytest.mark.parametrize(
    ("widget", "state"),
    [
        (LossExplorer, {"labels": 3}),
        (LossExplorer, {"labels": [1, 2]}),
        (LossExplorer, {"logits": 1.0}),
        (LossExplorer, {"logits": ["a", "b", "c", "d"]}),
        (LossExplorer, {"logits": None}),
        (LossExplorer, {"target": 1}),
        (LossExplorer, {"temperature": "hot"}),
        (LossExplorer, {"smoothing": None}),
        (ScheduleExplorer, {"shape": 3}),
        (ScheduleExplorer, {"rate": "3e-4"}),
        (ScheduleExplorer, {"total": 10.5}),
        (ScheduleExplorer, {"warmup": "100"}),
        (ScheduleExplorer, {"floor": []}),
        (LearningRateExplorer, {"subject": None}),
        (LearningRateExplorer, {"rate": "fast"}),
        (LearningRateExplorer, {"data": 3}),
        (LearningRateExplorer, {"live": []}),
        (ThresholdExplorer, {"model": 1}),
        (ThresholdExplorer, {"split": None}),
        (ThresholdExplorer, {"threshold": "0.5"}),
        (ThresholdExplorer, {"share": None}),
        (ThresholdExplorer, {"miss": "dear"}),
        (ThresholdExplorer, {"data": []}),
    ],
)
def test_a_wrong_type_is_a_trait_error(widget, state):
    with pytest.raises(traitlets.TraitError, match=next(iter(state))):
        widget(**state)
    good = widget()
    with pytest.raises(traitlets.TraitError, match=next(iter(state))):
        setattr(good, *next(iter(state.items())))
    assert message(good.to_html()) is None


# --- wrong values -----------------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
NO_NUMBER = [NAN, INF, -INF, None, True, "1", "", [], {}]
REFUSED = [
    (LossExplorer, "labels", [[], ["one"], list("abcdefghi"), ["a", "a"], None, "labels", 3, {}]),
    (LossExplorer, "logits", [[], [1, 2], [1, 2, 3, 4, 5], [1, 2, 3, NAN], [1, 2, 3, INF], [1, 2, 3, None],
                              [1, 2, 3, True], [1, 2, 3, "4"], [1, 2, 3, 1.1e6], None, 4, "abcd", {}]),
    (LossExplorer, "target", ["", "world", None, 0, True, ["World"], "__proto__"]),
    (LossExplorer, "temperature", [0, -1, 1e-320, 100.001, 1e300, *NO_NUMBER]),
    (LossExplorer, "smoothing", [-0.001, 1.001, -1e300, *NO_NUMBER]),
    (ScheduleExplorer, "shape", ["", "Cosine", "step", None, 0, True, ["linear"], "toString"]),
    (ScheduleExplorer, "rate", [0, -3e-4, 1000.1, 1e300, *NO_NUMBER]),
    (ScheduleExplorer, "total", [0, -1, 1.5, 10**6 + 1, 10**400, *NO_NUMBER]),
    (ScheduleExplorer, "warmup", [-1, 0.5, 10**6 + 1, 10**400, *NO_NUMBER]),
    (ScheduleExplorer, "floor", [-0.1, 1.1, *NO_NUMBER]),
    (LearningRateExplorer, "subject", ["", "Characters", "toString", "__proto__", None, 0, True, ["momentum"]]),
    (LearningRateExplorer, "rate", [0, -1, 1.1e6, 1e300, *NO_NUMBER]),
    (LearningRateExplorer, "data", [None, {}, {"subjects": None}, {"subjects": {}}, {"subjects": {"characters": {}}},
                                    {"subjects": "abc"}, [], "data", 0]),
    (ThresholdExplorer, "model", ["", "tf-idf", "toString", "__proto__", None, 0, True, ["MiniLM"]]),
    (ThresholdExplorer, "split", ["", "train", "toString", None, 0, True, ["test"]]),
    (ThresholdExplorer, "threshold", [-0.01, 1.01, 1e300, *NO_NUMBER]),
    (ThresholdExplorer, "share", [0, 0.0009, 0.9991, 1, -1, *NO_NUMBER]),
    (ThresholdExplorer, "miss", [-1, 1000.1, 1e300, *NO_NUMBER]),
    (ThresholdExplorer, "data", [None, {}, {"models": None}, {"models": {}}, {"models": {"m": None}, "labels": {}},
                                 {"models": "abc", "labels": "abc"}, [], "data", 0]),
]  # fmt: skip
NAMES = {"rate": "rate|Highest rate", "total": "Total steps", "warmup": "Warm-up steps", "floor": "Floor"}


@pytest.mark.parametrize(("widget", "key", "values"), REFUSED, ids=lambda case: case if isinstance(case, str) else None)
def test_a_wrong_value_gets_a_message_and_keeps_its_controls(widget, key, values):
    usual = Page(markup(widget))
    for value in values:
        html = markup(widget, **{key: value})
        text = message(html)
        assert text is not None, f"{key}={value!r} was accepted"
        assert re.match(rf"({NAMES.get(key, key)}): expected .+, got .+\.", text), text
        page = Page(html)
        assert page.message is not None
        assert page.all("svg") == []
        assert len(page.all("input", "select")) == len(usual.all("input", "select"))
        assert not re.search(r"NaN|Infinity|undefined|null", html.replace(f">{text}<", "").split('<p class="wit-m')[0])


@pytest.mark.parametrize(
    ("widget", "state", "said"),
    [
        (LossExplorer, {"temperature": 0.0}, "temperature: expected a number from 0.001 to 100, got 0."),
        (LossExplorer, {"smoothing": NAN}, "smoothing: expected a number from 0 to 1, got NaN."),
        (
            LossExplorer,
            {"logits": [1.0, NAN, -INF, 0.0]},
            "logits: expected 4 numbers from −1e6 to 1e6, one for each label, got [1, NaN, -Infinity, 0].",
        ),
        (LossExplorer, {"target": "x"}, 'target: expected one of World, there, apple, zebra, got "x".'),
        (LossExplorer, {"labels": ["a"]}, 'labels: expected 2 to 8 different names, got ["a"].'),
        (ScheduleExplorer, {"shape": "step"}, 'shape: expected one of constant, linear, cosine, got "step".'),
        (ScheduleExplorer, {"rate": INF}, "Highest rate: expected a number above 0 and up to 1000, got Infinity."),
        (ScheduleExplorer, {"total": 0}, "Total steps: expected a whole number from 1 to 1e6, got 0."),
        (ScheduleExplorer, {"warmup": True}, "Warm-up steps: expected a whole number from 0 to 1e6, got true."),
        (
            ScheduleExplorer,
            {"floor": 2.0, "total": -1},
            "Total steps: expected a whole number from 1 to 1e6, got -1.\nFloor: expected a number from 0 to 1, got 2.",
        ),
        (LearningRateExplorer, {"rate": -1.0}, "rate: expected a number above 0 and up to 1e6, got -1."),
        (
            LearningRateExplorer,
            {"subject": "gpt"},
            'subject: expected one of characters, reviews, momentum, got "gpt".',
        ),
        (
            LearningRateExplorer,
            {"data": None},
            "data: expected the recorded runs of course_lib.recorded.rate_sweep, got none that can be drawn.",
        ),
        (ThresholdExplorer, {"model": "gpt"}, 'model: expected one of TF-IDF, encoder, MiniLM, got "gpt".'),
        (ThresholdExplorer, {"threshold": 2.0}, "threshold: expected a number from 0 to 1, got 2."),
        (ThresholdExplorer, {"share": 1.0}, "share: expected a number from 0.001 to 0.999, got 1."),
        (
            ThresholdExplorer,
            {"data": None},
            "data: expected the predictions of course_lib.recorded.review_predictions, got none that can be drawn.",
        ),
    ],
)
def test_python_shows_the_message_too(widget, state, said):
    html = widget(**state).to_html()
    assert message(html) == said
    Page(html)


@pytest.mark.parametrize("state", [{"rate": -1.0}, {"rate": NAN}])
def test_a_refused_value_leaves_the_others_in_their_controls(state):
    html = LearningRateExplorer(subject="reviews", **state).to_html()
    assert '<option value="reviews" selected>' in html
    html = ThresholdExplorer(model="MiniLM", split="validation", threshold=7.0).to_html()
    assert '<option value="MiniLM" selected>' in html
    assert '<option value="validation" selected>' in html
    html = ScheduleExplorer(shape="linear", total=77, floor=5.0).to_html()
    assert '<option value="linear" selected>' in html
    assert 'value="77"' in html
    html = LossExplorer(labels=["left", "right"], logits=[1.0, 2.0], target="right", temperature=0.0).to_html()
    assert '<option value="right" selected>' in html


def test_a_refused_state_keeps_the_button_of_a_kernel():
    html = markup(LearningRateExplorer, rate=-1, live={"step": 5, "steps": 150, "subject": "characters", "losses": []})
    assert '<button type="button" data-key="train">Cancel</button>' in html


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("widget", [LossExplorer, ScheduleExplorer, ThresholdExplorer])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_state_throws_or_leaves_nothing_to_see(widget, data):
    keys = list(run(widget._name, "defaults"))
    change = data.draw(st.dictionaries(st.sampled_from(keys), ANYTHING, min_size=1))
    page = Page(markup(widget, **change))
    assert page.all("input")
    assert (page.message is None) == bool(page.all("svg"))


# --- the page ---------------------------------------------------------------------------------------------------------


def hostile_data():
    scores = {split: [250_000, 999_999] for split in ("validation", "test")}
    return {"labels": {split: [0, 1] for split in scores}, "models": dict.fromkeys(HOSTILE, scores)}


SHOWN = [
    LossExplorer,
    lambda: LossExplorer(logits=[1000.0, -1000.0, 0.0, 0.0], temperature=0.1, smoothing=0.3),
    lambda: LossExplorer(labels=HOSTILE, logits=[0.0] * 6, target=HOSTILE[0]),
    lambda: LossExplorer(labels=["", " "], logits=[0.0, 0.0], target=""),
    lambda: LossExplorer(temperature=0.0),
    ScheduleExplorer,
    lambda: ScheduleExplorer(shape="constant", rate=123.0, total=1, warmup=0),
    lambda: ScheduleExplorer(shape="linear", rate=1e-300, total=468, warmup=500),
    lambda: ScheduleExplorer(shape=HOSTILE[0]),
    LearningRateExplorer,
    lambda: LearningRateExplorer(subject="reviews", rate=10.0),
    lambda: LearningRateExplorer(subject="momentum", rate=1e-320),
    lambda: LearningRateExplorer(subject="momentum", rate=1.0),
    lambda: LearningRateExplorer(subject=HOSTILE[0]),
    ThresholdExplorer,
    lambda: ThresholdExplorer(model="MiniLM", threshold=1.0, share=0.001, miss=1000.0),
    lambda: ThresholdExplorer(model="encoder", split="validation", threshold=0.0, share=0.999, miss=0.0),
    lambda: ThresholdExplorer(model=HOSTILE[0]),
    lambda: ThresholdExplorer(model=HOSTILE[1], data=hostile_data()),
]
shown = pytest.mark.parametrize("make", SHOWN)


@shown
def test_same_state_same_page(make):
    assert make().to_html() == make().to_html()


@shown
def test_page_is_well_formed_and_small(make):
    html = make().to_html()
    page = Page(html)
    assert len(html.encode()) < 150_000  # encode: half of a character could not be written into a page
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not re.search(
        r"NaN|Infinity|undefined", re.sub(r"<script.*?</script>|<p class=\"wit-m.*?</p>", "", html, flags=re.S)
    )
    marks = [attributes["data-wit"] for attributes in page.all("div") if "data-wit" in attributes]
    assert len(marks) == 1
    assert f'start(exported, "{marks[0]}", ' in html


@shown
def test_page_loads_nothing_from_elsewhere(make):
    html = make().to_html()
    page = Page(html)
    code = "".join(page.text["script"]) + "".join(page.text["style"])
    assert not re.search(r"https?:|\bsrc=|@import|\bimport\b[\s({]|\bfetch\(|url\((?!#)|\beval\(", code)
    for tag, attributes in page.elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "use", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "href", "xlink:href", "action", "srcdoc"}, (tag, name)
            assert "//" not in (value or "") or name in {"value", "aria-label", "data-key"}, (tag, name, value)


@shown
def test_every_input_is_labeled_and_every_picture_told(make):
    page = Page(make().to_html())
    assert all(inside is not None for _, inside in page.labeled)
    not_its_name = r'<span class="wit-value".*?</span>|<option.*</option>|<[^>]*>'
    for label in re.findall(r"<label.*?</label>", make().to_html().split("<script")[0]):
        assert len(re.sub(not_its_name, "", label).strip()) > 3, label
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert re.search(r"\d", svg["aria-label"])
        assert len(svg["aria-label"]) > 20
    for slider in page.all("input"):
        if slider["type"] == "range":
            assert slider["aria-valuetext"]
            assert float(slider["min"]) < float(slider["max"])


def test_what_widgets_of_one_page_define_twice_is_the_same():
    # A clip path is found by its id on the whole page: of two that differ, the second would cut like the first.
    ids = Page("".join(make().to_html() for make in SHOWN)).ids
    assert len(ids) > 3
    assert {name: len(rectangles) for name, rectangles in ids.items()} == dict.fromkeys(ids, 1)


def test_hostile_names_stay_text():
    widget = LossExplorer(labels=HOSTILE, logits=[0.0] * 6, target=HOSTILE[0])
    html = widget.to_html()
    assert html.count("</script") == html.count("<script") == 1
    assert "<!--" not in html
    assert "\u2028" not in re.search(r"<script.*</script>", html, re.S)[0]
    page = Page(html)
    assert [option["value"] for option in page.all("option")] == HOSTILE
    state = re.search(r'start\(exported, "[^"]*", (.*)\);</script>', html)[1]
    assert json.loads(state) == widget.current_state()


def test_a_long_name_is_not_cut_inside_a_character():
    html = LossExplorer(labels=["aaaaa😀😀😀", "b"], logits=[0.0, 1.0], target="b").to_html()
    assert "aaaaa😀…" in html
    html.encode()


def test_two_equal_widgets_of_a_page_share_a_mark_and_others_do_not():
    def mark(**state):
        return re.search(r'data-wit="([^"]*)"', ScheduleExplorer(**state).to_html())[1]

    assert mark() == mark()
    assert len({mark(), mark(total=999), mark(shape="linear")}) == 3


@pytest.mark.parametrize("widget", WIDGETS)
def test_mimebundle(widget):
    data, metadata = widget()._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert data["text/html"] == widget().to_html()
    assert data["text/plain"] == f"{widget.__name__} (a widget)"
    assert isinstance(metadata, dict)


# --- the script and its engine ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("widget", WIDGETS)
def test_one_text_serves_notebook_and_page(widget):
    module, script = module_source(widget._name), script_source(widget._name)
    assert module.count("export default ") == 1
    assert "import {" not in module
    assert not re.search(r"^export ", script, re.M)
    assert re.search(r"^const exported = widget\(", script, re.M)
    assert not re.search(r"</script|<script|<!--", script)
    assert widget()._esm == module
    assert widget()._css == stylesheet()
    assert "</style" not in stylesheet()


def test_a_file_that_imports_in_another_form_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "FOLDER", tmp_path)
    (tmp_path / "shared.js").write_text("export const one = 1;\n", encoding="utf-8")
    (tmp_path / "odd.js").write_text('import * as all from "./shared.js";\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"odd\.js: expected one line import .* got 0"):
        module_source("odd")


def test_run_carries_values_both_ways():
    text = "</script>\u2028\"'\\`${x}"
    assert run("loss_explorer", "[a, b, c]", a=text, b=[1, None, True], c={"x": 1e-300}) == [
        text,
        [1, None, True],
        {"x": 1e-300},
    ]
    assert run("loss_explorer", "[1 / 0, NaN, isNumber(a), a > 0]", a=INF) == [None, None, False, True]
    with pytest.raises(quickjs.JSException, match="no_such_thing"):
        run("loss_explorer", "no_such_thing")


def test_a_widget_without_a_file_says_so():
    class Nowhere(CourseWidget):
        _name = "nowhere"

    with pytest.raises(FileNotFoundError, match=r"nowhere\.js"):
        Nowhere()


# --- what the widgets share -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (-0.0, "0"), (1, "1"), (-3, "−3"), (0.5, "0.5"), (12.345, "12.3"), (4270, "4270"), (4274, "4270"),
        (0.00123, "0.00123"), (1.2e-5, "1.2e−5"), (-1.2e-5, "−1.2e−5"), (1e-5, "1e−5"), (1.05e-5, "1.05e−5"),
        (100, "100"), (99999.9, "100000"), (123456, "1.23e5"), (1e300, "1e300"), (1e-300, "1e−300"),
        (INF, "infinite"), (-INF, "minus infinite"), (NAN, "not a number"),
    ],
)  # fmt: skip
def test_short(number, text):
    assert run("loss_explorer", "short(number)", number=number) == text


@given(number=st.floats(-1e300, 1e300), digits=st.integers(2, 6))
@settings(deadline=None)
def test_short_means_the_number(number, digits):
    text = run("loss_explorer", "short(number, digits)", number=number, digits=digits).replace("−", "-")
    assert float(text) == pytest.approx(number, rel=10 ** (1 - digits), abs=5e-324)
    assert not re.search(r"\.0*$|\.0*e|\.\d*0(e|$)", text)


@given(low=st.floats(-1e9, 1e9), span=st.floats(1e-6, 1e9), wanted=st.integers(3, 8))
@settings(deadline=None)
def test_ticks_lie_inside_and_are_even(low, span, wanted):
    high = low + span
    found = run("loss_explorer", "ticks({ domain: [low, high] }, wanted)", low=low, high=high, wanted=wanted)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(found) <= wanted + 1
    if span > 1e-3 * abs(low):
        assert len(found) >= 1
        gaps = [b - a for a, b in pairwise(found)]
        assert gaps == pytest.approx(gaps[:1] * len(gaps), rel=1e-3)


@pytest.mark.parametrize(
    ("domain", "powers"),
    [([1e-5, 10], [-5, -3, -1, 1]), ([1e-5, 1], [-5, -4, -3, -2, -1, 0]), ([0.2, 30], [0, 1]), ([2, 3], [])],
)
def test_ticks_of_a_log_axis(domain, powers):
    found = run("loss_explorer", "ticks({ domain, log: true })", domain=domain)
    assert [math.log10(tick) for tick in found] == pytest.approx(powers, abs=1e-9)
