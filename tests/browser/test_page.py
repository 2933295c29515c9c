"""The widgets in the built book, opened from the disk: moved as a reader moves them, and compared with Python."""

import math
import re
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib import losses, metrics, optim, recorded, schedules, widgets
from course_lib.widgets import base

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html" / "notebooks"
CHAPTERS = {
    path.stem: [
        name
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for name in re.findall(r"^widgets\.([A-Z]\w+)\(", cell.source, re.MULTILINE)
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
WITH_WIDGETS = [chapter for chapter, names in CHAPTERS.items() if names]
MOST_BYTES = 300_000  # of widgets in a page


def widget(page, name, number=0):
    """The widget of that file on a page, brought to life and into view."""
    found = page.locator(f'[data-wit^="{name}-"]').nth(number)
    found.scroll_into_view_if_needed()
    return found


def number(root, name):
    """A number in a widget's reading, in the form a person reads: 2.303, 1.2e−5."""
    text = root.locator(f'[data-value="{name}"]').inner_text()
    return float(text.replace("−", "-"))


def settle(page):
    """Wait until what was asked for has been drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


class TestEveryWidget:
    def test_each_is_in_the_book(self):
        assert {name for names in CHAPTERS.values() for name in names} == set(widgets.__all__)

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_the_script_starts_from_the_picture_that_was_there_before_it(self, visit, chapter):
        before = visit(chapter, scripts=False).locator(".course-widget .wit")
        after = visit(chapter).locator(".course-widget .wit")
        assert before.count() == after.count() == len(CHAPTERS[chapter])
        for i in range(before.count()):
            drawn = before.nth(i).locator(".wit-panels").inner_html()
            assert drawn == after.nth(i).locator(".wit-panels").inner_html()
            boxes = [which.nth(i).locator(".wit-panels").bounding_box() for which in (before, after)]
            assert boxes[0]["width"] == boxes[1]["width"] > 200

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_fits_a_telephone(self, visit, chapter):
        page = visit(chapter, width=360, touch=True)
        for one in page.locator(".course-widget .wit").all():
            box = one.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            inside = one.evaluate(
                "e => [...e.querySelectorAll('*')].filter(c => !c.closest('svg') || c.tagName === 'svg')"
                ".every(c => c.getBoundingClientRect().right <= 361)"
            )
            assert inside
            for text in one.locator("svg text").all()[:3]:
                assert text.evaluate("t => t.getBoundingClientRect().height") >= 8

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    @pytest.mark.parametrize("dark", [False, True])
    def test_can_be_read_on_its_paper(self, visit, chapter, dark):
        page = visit(chapter, dark=dark)
        page.evaluate(f"document.documentElement.dataset.theme = '{'dark' if dark else 'light'}'")
        contrasts = page.locator(".course-widget .wit").evaluate_all(
            """roots => roots.flatMap(root => {
              const luminance = color => {
                const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(Number)
                  .map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
              const style = getComputedStyle(root), paper = luminance(style.backgroundColor);
              const probe = root.appendChild(document.createElement('i'));
              const lines = [0, 1, 2, 3, 4].map(i => {
                probe.style.color = `var(--wit-${i})`;
                return contrast(paper, luminance(getComputedStyle(probe).color));
              });
              probe.remove();
              return [{text: contrast(paper, luminance(style.color)), lines, paper}];
            })"""
        )
        for one in contrasts:
            assert one["text"] >= 7  # WCAG's stricter limit for text
            assert min(one["lines"]) >= 3  # and its limit for what a picture shows
            assert (one["paper"] < 0.2) == dark

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_every_control_has_a_name(self, visit, chapter):
        page = visit(chapter)
        for control in page.locator(".course-widget :is(input, select, button)").all():
            named = control.evaluate("c => (c.labels?.length ? c.labels[0].textContent : c.textContent).trim().length")
            assert named > 0

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_works_by_keyboard_alone(self, visit, chapter):
        page = visit(chapter)
        for one in page.locator(".course-widget .wit").all():
            slider = one.locator("input[type=range]:enabled").first
            reading = one.locator(".wit-reading").inner_text()
            reach = one.evaluate(
                "e => { const all = [...e.querySelectorAll('input, select, button')];"
                "return all.filter(c => !c.disabled).every(c => c.tabIndex === 0); }"
            )
            assert reach
            slider.focus()
            before = slider.input_value()
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            settle(page)
            assert slider.input_value() != before
            assert one.locator(".wit-reading").inner_text() != reading
            assert slider.evaluate("s => s === document.activeElement")

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_works_by_touch(self, visit, chapter):
        page = visit(chapter, width=390, touch=True)
        for one in page.locator(".course-widget .wit").all():
            slider = one.locator("input[type=range]:enabled").first
            slider.scroll_into_view_if_needed()
            before = slider.input_value()
            box = slider.bounding_box()
            assert box["height"] >= 24  # room for a thumb
            middle = slider.evaluate("s => (Number(s.min) + Number(s.max)) / 2")
            there = 0.1 if float(before) > middle else 0.9  # the other half of the slider
            page.touchscreen.tap(box["x"] + there * box["width"], box["y"] + box["height"] / 2)
            settle(page)
            assert slider.input_value() != before

    @pytest.mark.parametrize("chapter", WITH_WIDGETS)
    def test_the_page_carries_little(self, chapter):
        html = (HTML / f"{chapter}.html").read_text(encoding="utf-8")
        carried = re.findall(r'<div class="course-widget">.*?</script></div>', html, re.DOTALL)
        assert len(carried) == len(CHAPTERS[chapter])
        assert sum(len(one.encode()) for one in carried) < MOST_BYTES


class TestLossExplorer:
    def test_a_moved_logit_gives_the_loss_of_the_library(self, visit):
        page = visit("07_loss")
        root = widget(page, "loss_explorer")
        root.get_by_label("Logit of World").fill("-3.5")
        root.get_by_label("Temperature").fill("2.5")
        root.get_by_label("Label smoothing").fill("0.2")
        root.get_by_label("Correct answer").select_option("apple")
        settle(page)
        logits = torch.tensor([-3.5, 1.0, 0.1, -1.0], dtype=torch.float64) / 2.5
        expected = losses.cross_entropy(logits, torch.tensor(2), label_smoothing=0.2).item()
        assert number(root, "loss") == pytest.approx(expected, rel=1e-3)
        assert number(root, "bits") == pytest.approx(expected / math.log(2), rel=1e-3)
        assert number(root, "perplexity") == pytest.approx(math.exp(expected), rel=1e-3)


class TestScheduleExplorer:
    def test_a_moved_schedule_gives_the_sums_of_the_library(self, visit):
        page = visit("09_learning_rate")
        root = widget(page, "schedule_explorer")
        root.get_by_label("Shape").select_option("linear")
        root.get_by_label("Total steps").fill("468")
        root.get_by_label("Warm-up steps").fill("47")
        settle(page)
        schedule = schedules.Linear(total_steps=468, warmup_steps=47)
        peak = number(root, "highest")
        assert peak > 0
        area = sum(peak * schedule(step) for step in range(468))
        assert number(root, "area") == pytest.approx(area, rel=2e-3)
        assert number(root, "at") == 48
        assert "outlives" not in root.inner_text()
        root.get_by_label("Warm-up steps").fill("500")
        settle(page)
        assert "The warm-up outlives the run" in root.inner_text()
        assert number(root, "highest") == pytest.approx(peak * 467 / 500, rel=2e-3)

    @pytest.mark.parametrize("typed", ["-4", "", "2.5", "1e9"])
    def test_a_bad_number_gets_a_message_and_the_picture_stays(self, visit, typed):
        page = visit("09_learning_rate")
        root = widget(page, "schedule_explorer")
        picture = root.locator(".wit-panels").inner_html()
        root.get_by_label("Total steps").fill(typed)
        settle(page)
        assert root.get_by_role("alert").inner_text().startswith("Total steps: expected a whole number from 1 to")
        assert root.locator(".wit-panels").inner_html() == picture
        root.get_by_label("Total steps").fill("300")
        settle(page)
        assert root.get_by_role("alert").count() == 0


class TestLearningRateExplorer:
    @pytest.mark.parametrize("subject", ["characters", "reviews", "momentum"])
    def test_the_slider_shows_the_recorded_runs(self, visit, subject):
        page = visit("09_learning_rate")
        root = widget(page, "learning_rate_explorer")
        root.get_by_label("Model").select_option(subject)
        runs = recorded.load("rate_sweep")["subjects"][subject]
        words = []
        for place in (0, 9, 24):
            root.get_by_role("slider", name="Learning rate").fill(str(place))
            settle(page)
            assert number(root, "rate") == pytest.approx(runs["rates"][place], rel=1e-2)
            values = [value for value in runs["held_out"][place] if value is not None]
            if values:
                assert number(root, "lowest") == pytest.approx(min(values), rel=1e-3)
            words.append(root.locator('[data-value="verdict"]').inner_text())
        assert words[0] == "crawls"
        assert "explodes" in words[2]

    def test_says_where_a_model_can_be_trained(self, visit):
        root = widget(visit("09_learning_rate"), "learning_rate_explorer")
        assert "In JupyterLab" in root.inner_text()
        assert root.get_by_role("button").count() == 0


def on_the_ravine(optimizer, start, steps):
    """The loss of course_lib.optim after that many steps on chapter 08's ravine, in float64."""
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    stepper = optimizer([w])
    for _ in range(steps):
        (w.grad,) = torch.autograd.grad((w[0] ** 2 + 100 * w[1] ** 2) / 2, w)
        stepper.step()
    x, y = w.tolist()
    return (x**2 + 100 * y**2) / 2


class TestOptimizerPlayground:
    def opened(self, visit, **how):
        """Chapter 08's first playground, SGD and Momentum on the ravine, before its first step."""
        root = widget(visit("08_optimizers", **how), "optimizer_playground")
        root.get_by_role("button", name="Reset").click()
        settle(root.page)
        assert number(root, "step") == 0
        return root

    def test_steps_give_the_losses_of_the_library(self, visit):
        root = self.opened(visit)
        root.get_by_role("slider", name="Start x").fill("6")
        root.get_by_role("slider", name="Start y").fill("-0.8")
        for _ in range(7):
            root.get_by_role("button", name="Step").click()
        settle(root.page)
        assert number(root, "step") == 7
        sgd = on_the_ravine(lambda w: optim.SGD(w, lr=0.019), [6, -0.8], 7)
        momentum = on_the_ravine(lambda w: optim.Momentum(w, lr=0.01, momentum=0.9), [6, -0.8], 7)
        assert number(root, "loss SGD") == pytest.approx(sgd, rel=5e-3)
        assert number(root, "loss Momentum") == pytest.approx(momentum, rel=5e-3)

    def test_plays_to_its_end_and_resets(self, visit):
        root = self.opened(visit)
        first = root.locator(".wit-panels").inner_html()
        root.get_by_role("button", name="Play").click()
        root.get_by_role("button", name="Pause").wait_for()
        root.get_by_role("button", name="Play").wait_for(timeout=60_000)
        settle(root.page)
        assert number(root, "step") == 200
        assert number(root, "loss SGD") == pytest.approx(
            on_the_ravine(lambda w: optim.SGD(w, lr=0.019), [10, 1], 200), rel=5e-3
        )
        assert root.locator(".wit-panels").inner_html() != first
        root.get_by_role("button", name="Reset").click()
        settle(root.page)
        assert number(root, "step") == 0
        assert root.locator(".wit-panels").inner_html() == first

    def test_a_tap_on_the_map_moves_the_start(self, visit):
        root = self.opened(visit, width=390, touch=True)
        sliders = [root.get_by_role("slider", name=f"Start {letter}") for letter in "xy"]
        before = [float(slider.input_value()) for slider in sliders]
        svg = root.locator(".wit-panels svg").first
        svg.scroll_into_view_if_needed()
        frame = svg.locator(".wit-frame").bounding_box()
        root.page.touchscreen.tap(frame["x"] + 0.4 * frame["width"], frame["y"] + 0.25 * frame["height"])
        settle(root.page)
        x, y = (float(slider.input_value()) for slider in sliders)
        assert [x, y] != before
        assert x == pytest.approx(-3 + 0.4 * 15, abs=0.2)  # the map goes from -3 to 12, and from -1.4 to 1.4
        assert y == pytest.approx(-1.4 + 0.75 * 2.8, abs=0.05)
        assert number(root, "loss SGD") == pytest.approx((x**2 + 100 * y**2) / 2, rel=5e-3)


class TestThresholdExplorer:
    def opened(self, visit, model, split, **how):
        """Chapter 10's explorer for a model and a split, with as many positives as there are and equal costs."""
        root = widget(visit("10_evaluation", **how), "threshold_explorer")
        root.get_by_label("Model").select_option(model)
        root.get_by_label("Reviews").select_option(split)
        root.get_by_role("slider", name="Share of positives").fill("7")  # the place of 50%
        root.get_by_role("slider", name="Cost of a miss").fill("3")  # and of 1
        settle(root.page)
        return root

    def expected(self, model, split, threshold):
        recording = recorded.load("review_predictions")
        return metrics.at_threshold(recording["labels"][split], recording["models"][model][split][0], threshold)

    @pytest.mark.parametrize(("model", "split"), [("TF-IDF", "test"), ("encoder", "validation"), ("MiniLM", "test")])
    def test_keys_move_the_threshold_to_the_counts_of_the_library(self, visit, model, split):
        root = self.opened(visit, model, split)
        root.get_by_role("slider", name="Threshold").focus()
        root.page.keyboard.press("Home")
        for _ in range(35):
            root.page.keyboard.press("ArrowRight")
        settle(root.page)
        counts = self.expected(model, split, 0.35)
        assert number(root, "threshold") == 0.35
        shown = [number(root, name) for name in ("tp", "fp", "tn", "fn", "precision", "recall", "f1")]
        assert shown == pytest.approx(list(counts[1:]), abs=5e-4)
        root.page.keyboard.press("End")
        settle(root.page)
        assert root.locator('[data-value="precision"]').inner_text() == "not defined"
        assert number(root, "recall") == 0

    def test_a_rare_class_costs_precision_and_no_recall(self, visit):
        root = self.opened(visit, "TF-IDF", "test")
        root.get_by_role("slider", name="Threshold").fill("0.5")
        root.get_by_role("slider", name="Share of positives").fill("0")
        settle(root.page)
        counts = self.expected("TF-IDF", "test", 0.5)
        assert number(root, "recall") == pytest.approx(counts.recall, abs=5e-4)
        rare = 0.01 * counts.recall / (0.01 * counts.recall + 0.99 * counts.false_positives / 500)
        assert number(root, "precision") == pytest.approx(rare, abs=5e-4)

    def test_a_button_goes_to_the_best_threshold_of_validation(self, visit):
        root = self.opened(visit, "encoder", "validation")
        root.get_by_role("button", name="To highest F1").click()
        settle(root.page)
        assert number(root, "f1") == number(root, "f1 validation")
        assert number(root, "threshold") == number(root, "f1 threshold")
        root.get_by_label("Reviews").select_option("test")
        settle(root.page)
        assert number(root, "f1") == number(root, "f1 test")

    def test_a_tap_on_the_histogram_sets_the_threshold(self, visit):
        root = self.opened(visit, "MiniLM", "test", width=390, touch=True)
        svg = root.locator(".wit-panels svg").first
        svg.scroll_into_view_if_needed()
        frame = svg.locator(".wit-frame").bounding_box()
        root.page.touchscreen.tap(frame["x"] + 0.8 * frame["width"], frame["y"] + 0.5 * frame["height"])
        settle(root.page)
        threshold = float(root.get_by_role("slider", name="Threshold").input_value())
        assert threshold == pytest.approx(0.8, abs=0.02)
        assert number(root, "tp") == self.expected("MiniLM", "test", threshold).true_positives


def test_the_script_in_the_page_is_the_file_in_the_library(visit):
    page = visit("07_loss")
    scripts = page.locator('.course-widget script[type="module"]').all_text_contents()
    assert scripts
    assert all(script.startswith(base.script_source("loss_explorer")) for script in scripts)
