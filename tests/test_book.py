"""The notebooks' form, the two Sphinx extensions, and the book that `make book` built.

Tests of the built pages are skipped where there is no built book; `.ci/run` builds it first.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
TOC_FILES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
LONGEST_CELL = 25  # lines

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import execution  # noqa: E402
import mathml  # noqa: E402


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


class TestNotebooks:
    @pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
    def notebook(self, request):
        return nbformat.read(request.param, as_version=4)

    def test_table_of_contents_and_folder_agree(self):
        listed = [name.removeprefix("notebooks/") for name in TOC_FILES if name.startswith("notebooks/")]
        assert listed == [path.stem for path in NOTEBOOKS]

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_is_named_by_number_and_topic(self, path):
        assert re.fullmatch(r"\d\d_[a-z_]+", path.stem)

    def test_is_valid_with_a_unique_id_for_each_cell(self, notebook):
        nbformat.validate(notebook)
        identifiers = [cell.get("id") for cell in notebook.cells]
        assert all(identifiers)
        assert len(set(identifiers)) == len(identifiers)

    def test_is_kept_without_outputs(self, notebook):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code
        assert all(not cell.outputs and cell.execution_count is None for cell in code)

    def test_runs_in_the_environment_it_is_opened_in(self, notebook):
        assert notebook.metadata.kernelspec.name == "python3"

    def test_begins_with_its_only_title(self, notebook):
        prose = [
            re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            for cell in notebook.cells
            if cell.cell_type == "markdown"
        ]
        titles = [line for text in prose for line in text.splitlines() if line.startswith("# ")]
        assert notebook.cells[0].cell_type == "markdown"
        assert notebook.cells[0].source.startswith("# ")
        assert len(titles) == 1

    def test_says_first_what_it_is_for_how_long_it_takes_and_what_it_needs(self, notebook):
        first_code = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
        opening = "\n".join(cell.source for cell in notebook.cells[:first_code])
        assert len(re.findall(r"^[-*] ", opening, re.MULTILINE)) >= 3, "three objectives, as a list"
        assert re.search(r"\bseconds?\b|\bminutes?\b", opening), "the time it takes"
        assert re.search(r"before you start|what you need|you need|needed before|prerequisite", opening, re.IGNORECASE)

    def test_ends_with_a_summary(self, notebook):
        assert any(re.search(r"^## .*summary", cell.source, re.MULTILINE | re.IGNORECASE) for cell in notebook.cells)

    def test_no_code_cell_needs_scrolling(self, notebook):
        long = {
            cell.id: len(cell.source.splitlines())
            for cell in notebook.cells
            if cell.cell_type == "code"
            and "solution" not in tags(cell)
            and len(cell.source.splitlines()) > LONGEST_CELL
        }
        assert not long

    def test_every_exercise_is_followed_by_its_collapsed_solution(self, notebook):
        marked = [cell for cell in notebook.cells if cell.cell_type == "code" and tags(cell) & {"exercise", "solution"}]
        kinds = ["exercise" if "exercise" in tags(cell) else "solution" for cell in marked]
        assert kinds == ["exercise", "solution"] * (len(kinds) // 2)
        assert 2 <= len(kinds) // 2 <= 5
        for cell in marked[1::2]:
            assert "hide-cell" in tags(cell), "collapsed on the page"
            assert cell.metadata.get("jupyter", {}).get("source_hidden"), "collapsed in JupyterLab"

    def test_knows_only_tags_that_mean_something_here(self, notebook):
        known = {
            "exercise",
            "solution",
            "hide-cell",
            "hide-input",
            "hide-output",
            "remove-cell",
            "remove-input",
            "raises-exception",
        }
        assert set().union(*(tags(cell) for cell in notebook.cells)) <= known

    def test_claims_something(self, notebook):
        assert any("claim(" in cell.source for cell in notebook.cells if cell.cell_type == "code")


class TestMathML:
    @pytest.mark.parametrize(
        "tex",
        [
            r"\hat{m}_t = \frac{m_t}{1 - \beta_1^t}",
            r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
            r"\mathbf{W} \in \mathbb{R}^{B \times T}",
            r"-\sum_{i=1}^{V} p_i \log q_i < \ln V",
            r"\begin{cases} x & x > 0 \\ 0 & \text{otherwise} \end{cases}",
            r"\lVert g \rVert_2",
        ],
    )
    @pytest.mark.parametrize("display", [True, False])
    def test_converts(self, tex, display):
        result = mathml.to_mathml(tex, display=display)
        assert result.startswith("<math ")
        assert f'display="{"block" if display else "inline"}"' in result
        assert "\\" not in result

    def test_aligned_lines_become_rows(self):
        assert mathml.to_mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", display=True).count("<mtr>") == 2

    def test_bold_letter_is_a_letter_that_browsers_draw_bold(self):
        assert "\U0001d498" in mathml.to_mathml(r"\boldsymbol{w}", display=False)

    @pytest.mark.parametrize("tex", [r"\nosuchcommand x", r"\frac{a}", r"\begin{cases} a", "a & b", "{"])
    def test_refuses_what_it_cannot_read(self, tex):
        with pytest.raises(mathml.MathError):
            mathml.to_mathml(tex, display=True)


class TestCache:
    @pytest.fixture
    def tree(self, tmp_path):
        (tmp_path / "course_lib").mkdir()
        (tmp_path / "course_lib" / "a.py").write_text("one = 1\n")
        (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
        return tmp_path

    def test_same_contents_same_fingerprint(self, tree):
        assert execution.fingerprint(tree) == execution.fingerprint(tree)

    @pytest.mark.parametrize(
        "name", ["course_lib/a.py", "course_lib/new.jsonl", "constraints.txt", "notebooks/quiz/q.json"]
    )
    def test_any_change_changes_it(self, tree, name):
        before = execution.fingerprint(tree)
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("changed")
        assert execution.fingerprint(tree) != before

    def test_compiled_files_do_not(self, tree):
        before = execution.fingerprint(tree)
        (tree / "course_lib" / "__pycache__").mkdir()
        (tree / "course_lib" / "__pycache__" / "a.pyc").write_text("x")
        assert execution.fingerprint(tree) == before


@pytest.mark.slow
class TestBuildAsTyped:
    """`jupyter-book build book/`, with no flags and no make, on a book of one small notebook."""

    @pytest.fixture
    def small(self, tmp_path):
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "book").mkdir()
        for name in ("_ext", "_static", "references.bib"):
            source = ROOT / "book" / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tmp_path / "book" / name)
        shutil.copy(ROOT / "_config.yml", tmp_path)
        (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/page\n")
        (tmp_path / "book" / "_toc.yml").symlink_to("../_toc.yml")
        (tmp_path / "book" / "notebooks").symlink_to("../notebooks")
        (tmp_path / "course_lib").mkdir()
        (tmp_path / "course_lib" / "a.py").write_text("")
        (tmp_path / "constraints.txt").write_text("")
        self.write(tmp_path, "claim('two is more than one', 2 > 1)")
        return tmp_path

    @staticmethod
    def write(root: Path, code: str) -> None:
        cells = [
            nbformat.v4.new_markdown_cell("# Page\n\n$$ a < \\ln b $$ (e)\n\nSee {eq}`e`.", id="a"),
            nbformat.v4.new_code_cell("from course_lib.claims import claim", id="b"),
            nbformat.v4.new_code_cell(code, id="c"),
            nbformat.v4.new_code_cell("40 + 2", id="d", metadata={"tags": ["solution", "hide-cell"]}),
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "notebooks" / "page.ipynb")

    @staticmethod
    def build(root: Path) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if name != "COURSE_STRICT_CLAIMS"}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        result = subprocess.run(
            ["jupyter-book", "build", "book/"], cwd=root, env=environment, capture_output=True, text=True, timeout=300
        )
        return result.returncode, result.stdout + result.stderr

    def test_executes_once_and_again_when_the_library_changed(self, small):
        code, first = self.build(small)
        assert code == 0, first
        assert "Executing notebook" in first
        page = (small / "_build" / "html" / "notebooks" / "page.html").read_text()
        assert "two is more than one" in page
        assert "Show the solution" in page
        assert '<span class="eqno">(1)' in page
        code, second = self.build(small)
        assert code == 0, second
        assert "Executing notebook" not in second
        (small / "course_lib" / "a.py").write_text("changed = True\n")
        code, third = self.build(small)
        assert code == 0, third
        assert "Executing notebook" in third
        assert len(list((small / "_build" / ".jupyter_cache").iterdir())) == 1

    def test_a_claim_that_does_not_hold_fails_the_build(self, small):
        self.write(small, "claim('one is more than two', 1 > 2)")
        code, output = self.build(small)
        assert code != 0
        assert "one is more than two" in output


LINKS_THAT_LOAD = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"}


class Page(HTMLParser):
    """What a page loads, its images, its collapsed solutions and its formulas."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.images: list[dict[str, str]] = []
        self.details_after: list[dict[str, str] | None] = []
        self.inline_code: list[str] = []
        self.formulas = self.converted = self.headings = 0
        self._solution_open = False
        self._inside = ""
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        classes = values.get("class", "").split()
        if tag == "link" and LINKS_THAT_LOAD & set(values.get("rel", "").split()):
            self.loads.append(values.get("href", ""))
        elif tag == "object":
            self.loads.append(values.get("data", ""))
        elif tag != "a":
            self.loads += [values[name] for name in ("src", "srcset", "poster") if name in values]
        if tag == "img":
            self.images.append(values)
        if tag == "div" and "tag_solution" in classes:
            self.details_after.append(None)
            self._solution_open = True
        elif self._solution_open:  # the next element of a collapsed cell must be its <details>
            self.details_after[-1] = values if tag == "details" else None
            self._solution_open = False
        self.formulas += "math" in classes and tag in ("span", "div")
        self.converted += tag == "math"
        self.headings += tag == "h1"
        self._inside = tag if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline_code.append(data)


@functools.lru_cache(maxsize=1)
def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


needs_book = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="no built book here; run `make book` first")
BUILT = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.relative_to(HTML).parts)
OUTSIDE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
LOADING_CODE = re.compile(
    r"""(?:@import|url\(|\bimport\b[^"';]*|importScripts\(|fetch\()\s*\(?\s*["']?(?:https?:)?//[\w.]"""
)


def from_elsewhere(page: Page) -> list[str]:
    return [address for address in page.loads if OUTSIDE.match(address)] + [
        code for code in page.inline_code if LOADING_CODE.search(code)
    ]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/a.css">',
        '<img alt="a curve that falls" src="http://example.org/a.png">',
        '<style>@import url("https://example.org/a.css")</style>',
        '<script type="module">import x from "https://example.org/x.js"</script>',
    ],
)
def test_what_comes_from_elsewhere_is_noticed(html):
    assert from_elsewhere(Page(html))
    assert not from_elsewhere(Page('<a href="https://example.org">a link that a reader may follow</a>'))


@pytest.mark.parametrize(
    ("html", "collapsed"),
    [
        ('<div class="cell tag_solution"><details class="hide"></details></div>', True),
        ('<div class="cell tag_solution"><details class="hide" open></details></div>', False),
        ('<div class="cell tag_solution"><div class="cell_input"></div></div>', False),
    ],
)
def test_an_open_solution_is_noticed(html, collapsed):
    assert all(details is not None and "open" not in details for details in Page(html).details_after) == collapsed


@needs_book
class TestBuiltBook:
    @pytest.fixture(params=BUILT, ids=lambda path: path.relative_to(HTML).as_posix())
    def page(self, request):
        return parsed(request.param)

    @pytest.mark.parametrize("name", TOC_FILES)
    def test_every_chapter_has_its_page(self, name):
        assert parsed(HTML / f"{name}.html").headings >= 1

    def test_loads_nothing_from_elsewhere(self, page):
        assert page.loads
        assert not from_elsewhere(page)

    @pytest.mark.parametrize("path", sorted(HTML.rglob("*.css")), ids=lambda path: path.name)
    def test_style_sheets_load_nothing_from_elsewhere(self, path):
        assert not LOADING_CODE.search(re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))

    def test_every_image_says_what_it_shows(self, page):
        for image in page.images:
            if "logo__image" in image.get("class", ""):
                continue  # the title of the book stands beside it
            text = image.get("alt", "")
            assert len(text) > 10, image.get("src", "")[:80]
            assert not text.endswith((".png", ".svg", ".jpg")), text

    def test_no_claim_failed_and_no_error_is_shown(self, page):
        signs = ("<em>not in this run:</em>", "Traceback (most recent call last)", "output stderr")
        assert not [sign for sign in signs if sign in page.text]

    def test_formulas_are_mathml(self, page):
        assert page.converted >= page.formulas
        assert not [address for address in page.loads if "mathjax" in address.lower()]

    def test_solutions_are_there_and_collapsed(self, page):
        assert all(details is not None and "open" not in details for details in page.details_after)

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_as_many_solutions_as_in_the_notebook(self, path):
        cells = nbformat.read(path, as_version=4).cells
        page = parsed(HTML / "notebooks" / f"{path.stem}.html")
        assert len(page.details_after) == sum("solution" in tags(cell) for cell in cells)

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_every_notebook_ran_and_its_time_is_published(self, path):
        row = re.search(rf"notebooks/{path.stem}</span>.*?</tr>", (HTML / "timings.html").read_text(), re.DOTALL)[0]
        seconds = float(re.findall(r"<td><p>([\d.]+)</p></td>", row)[0])
        assert seconds > 0  # how many is for a person to read: a slow machine is no fault of the course
        assert "✅" in row

    def test_search_works_from_the_disk(self):
        index = (HTML / "searchindex.js").read_text(encoding="utf-8").strip()
        assert index.startswith("Search.setIndex(")
        assert "checkpoint" in json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["terms"]


def test_the_puzzle_on_the_first_page_is_right():
    page = (ROOT / "book" / "index.md").read_text()
    rows = [row.split("|")[1:4] for row in re.findall(r"^\| \d+ \| [\d.]+ \|.*$", page, re.MULTILINE)]
    logged = [(int(step), float(rate)) for step, _, rate in rows]
    assert len(logged) == 4
    for step, rate in logged:
        assert rate == pytest.approx(3e-5 * step / 500, rel=1e-12)
    assert f"{3e-5 * 468 / 500:.2e}".replace("e-05", "e-5") in page
