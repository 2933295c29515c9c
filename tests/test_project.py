"""The files at the root of the repository agree with one another, and with what is installed."""

import importlib.metadata
import inspect
import logging
import os
import re
import subprocess
import tomllib
import types
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def direct_requirements() -> dict[str, Requirement]:
    lines = [*PYPROJECT["project"]["dependencies"]]
    for extra in PYPROJECT["project"]["optional-dependencies"].values():
        lines += extra
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def pins() -> dict[str, Requirement]:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    by_name = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(by_name) == len(requirements), "a package is pinned twice"
    return by_name


def pinned_version(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact pin"
    return specifier.version


def table_rows(markdown: str, first_header: str) -> list[list[str]]:
    """The body rows of the table whose header row begins with a cell of that text, backticks removed."""
    lines = iter(markdown.splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            break
    else:
        raise AssertionError(f"no table that begins with {first_header!r}")
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().strip("`") for cell in line.strip().strip("|").split("|")])
    return rows


class TestEnvironment:
    @pytest.mark.parametrize("name", sorted(direct_requirements()))
    def test_every_direct_dependency_is_pinned_within_its_range(self, name):
        assert name in pins(), f"{name} is in pyproject.toml and not in constraints.txt"
        version = pinned_version(pins()[name])
        assert direct_requirements()[name].specifier.contains(version, prereleases=True)

    def test_every_pin_is_exact(self):
        assert all(pinned_version(pin) for pin in pins().values())

    @pytest.mark.parametrize("name", sorted(direct_requirements()))
    def test_the_installed_version_is_the_pinned_one(self, name):
        assert pins()[name].specifier.contains(importlib.metadata.version(name), prereleases=True)

    @pytest.mark.parametrize("name", sorted(direct_requirements()))
    def test_every_direct_dependency_has_a_reason(self, name):
        reasons = {canonicalize_name(row[0]): row[1] for row in table_rows(read("CONTRIBUTING.md"), "package")}
        assert len(reasons.get(name, "").split()) >= 3 or len(reasons.get(name, "")) >= 10, f"no reason for {name}"

    def test_no_reason_is_given_for_what_is_not_used(self):
        named = {canonicalize_name(row[0]) for row in table_rows(read("CONTRIBUTING.md"), "package")}
        assert named == set(direct_requirements())

    def test_conda_installs_the_same_as_make(self):
        environment = yaml.safe_load(read("environment.yml"))
        *conda, pip_section = environment["dependencies"]
        extras = re.search(r"^EXTRAS := (\S+)$", read("Makefile"), re.MULTILINE)[1]
        assert set(extras.split(",")) == set(PYPROJECT["project"]["optional-dependencies"])
        assert pip_section == {"pip": ["-c constraints.txt", f"-e .[{extras}]"]}
        assert environment["name"] == PYPROJECT["project"]["name"]
        assert "pip" in conda
        assert environment["channels"] == ["conda-forge"]

    def test_python_ranges_agree(self):
        project = SpecifierSet(PYPROJECT["project"]["requires-python"])
        python = yaml.safe_load(read("environment.yml"))["dependencies"][0]
        assert SpecifierSet(python.removeprefix("python ")) == project
        assert [f"3.{minor}" for minor in range(8, 20) if project.contains(f"3.{minor}.1")] == list(PYTHONS)
        assert "(3, 11) <= sys.version_info < (3, 14)" in read("Makefile")
        assert PYPROJECT["tool"]["ruff"]["target-version"] == "py311"
        assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
        for version in PYTHONS:
            assert version in read("README.md")

    def test_torch_is_the_version_that_was_tested(self):
        assert str(pins()["torch"]) == "torch==2.13.0"


class TestFiles:
    def test_version_is_one(self):
        version = PYPROJECT["project"]["version"]
        assert yaml.safe_load(read("CITATION.cff"))["version"] == version
        assert f"\n## {version}" in read("CHANGELOG.md")

    @pytest.mark.parametrize(("link", "target"), [("_toc.yml", "../_toc.yml"), ("notebooks", "../notebooks")])
    def test_links_of_the_book_are_relative(self, link, target):
        path = ROOT / "book" / link
        assert path.is_symlink()
        assert os.readlink(path) == target
        assert path.exists()

    def test_ci_runs_what_the_readme_says_and_nothing_else(self):
        block = re.search(r"## Two commands.*?```bash\n(.*?)```", read("README.md"), re.DOTALL)[1]
        promised = [line.split("#")[0].strip() for line in block.splitlines()]
        assert promised == ["make book", "make test"]
        assert "`make test-browser`" in read("README.md")
        assert re.findall(r"^make .*$", read(".ci/run"), re.MULTILINE) == [*promised, "make test-browser"]
        assert os.access(ROOT / ".ci/run", os.X_OK)

    def test_every_target_that_is_named_exists(self):
        text = read("README.md") + read("CONTRIBUTING.md") + read("book/how_to_use.md") + read("book/instructors.md")
        named = set(re.findall(r"`(?:[A-Z]+=\S+ )?make ([a-z-]+)", text)) | set(
            re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
        )
        targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
        assert {"book", "test", "lab", "lint", "venv"} <= named
        assert named <= targets

    def test_every_file_that_the_readme_links_to_exists(self):
        for target in re.findall(r"\]\(([^)#:]+)\)", read("README.md")):
            assert (ROOT / target).exists(), target

    def test_make_alone_prints_help(self):
        result = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0
        assert "make book" in result.stdout

    def test_an_unsuitable_python_is_refused_in_words(self, tmp_path):
        (tmp_path / "Makefile").write_text(read("Makefile"))
        for name in ("pyproject.toml", "constraints.txt"):
            (tmp_path / name).write_text("")
        old = tmp_path / "old"
        old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.1;; *) exit 1;; esac\n')
        old.chmod(0o755)
        result = subprocess.run(
            ["make", "venv", "PYTHON=./old"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert result.returncode != 0
        assert "needs Python 3.11, 3.12 or 3.13; './old' is Python 3.9.1" in result.stdout
        assert not (tmp_path / ".venv").exists()

    def test_pre_commit_needs_no_network(self):
        config = yaml.safe_load(read(".pre-commit-config.yaml"))
        hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
        assert {repository["repo"] for repository in config["repos"]} == {"local"}
        assert {hook["language"] for hook in hooks} == {"system"}
        assert {hook["id"] for hook in hooks} == {
            "nbstripout",
            "ruff",
            "ruff-format",
            "codespell",
            "mypy",
            "import-linter",
        }
        assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)

    def test_licenses_say_what_they_cover(self):
        assert read("LICENSE").startswith("MIT License\n")
        assert "https://creativecommons.org/licenses/by/4.0/legalcode" in read("LICENSE-TEXT")


class TestApiDrift:
    """The tables of book/api_drift.md hold for the installed transformers."""

    page = read("book/api_drift.md")

    @staticmethod
    def parameters() -> dict[str, inspect.Parameter]:
        from transformers import TrainingArguments

        return dict(inspect.signature(TrainingArguments).parameters)

    def test_the_page_names_the_pinned_version(self):
        version = ".".join(pinned_version(pins()["transformers"]).split(".")[:2])
        assert f"| transformers {version} |" in self.page

    @pytest.mark.parametrize("row", table_rows(page, "transformers 4"), ids=lambda row: row[0])
    def test_old_argument_is_gone_and_new_one_is_there(self, row):
        old, new, _ = row
        assert old not in self.parameters()
        assert new == "none" or new in self.parameters()

    @pytest.mark.parametrize("row", table_rows(page, "what"), ids=lambda row: row[0])
    def test_default_is_the_stated_one(self, row):
        name, value, _ = row
        default = self.parameters()[name].default
        assert str(getattr(default, "value", default)) == value

    def test_the_logged_rate_is_read_before_the_scheduler_moves_it(self):
        from transformers import Trainer

        source = inspect.getsource(Trainer._run_epoch)
        assert source.index("learning_rate = self._get_learning_rate()") < source.index("self.lr_scheduler.step()")

    def test_values_that_the_page_mentions(self):
        from transformers import TrainingArguments

        assert TrainingArguments.get_warmup_steps(types.SimpleNamespace(warmup_steps=0.1), 468) == 47
        assert TrainingArguments.get_warmup_steps(types.SimpleNamespace(warmup_steps=10), 468) == 10
        assert "group_by_length" in inspect.getdoc(TrainingArguments)

    def test_trainer_takes_a_processing_class(self):
        from transformers import Trainer

        parameters = inspect.signature(Trainer.__init__).parameters
        assert "tokenizer" not in parameters
        assert "processing_class" in parameters

    def test_the_last_accumulation_group_counts(self):
        from transformers import Trainer

        trainer = types.SimpleNamespace(
            get_total_train_batch_size=lambda args: 16, get_sp_size=lambda: 1, num_examples=lambda loader: 2500
        )
        arguments = types.SimpleNamespace(
            max_steps=-1, gradient_accumulation_steps=2, num_train_epochs=3, include_tokens_per_second=False
        )
        values = Trainer.set_initial_training_values(trainer, arguments, range(313))
        assert values[1] == 157
        assert values[-1] == 471

    def test_missing_weights_are_told_in_a_load_report(self, tmp_path, monkeypatch):
        from transformers import BertConfig, BertForSequenceClassification, BertModel

        tiny = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        BertModel(tiny).save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").exists()
        messages: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("transformers")
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
        BertForSequenceClassification.from_pretrained(tmp_path)
        report = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(messages))
        assert "BertForSequenceClassification LOAD REPORT" in report
        assert re.search(r"classifier\.weight +\| MISSING", report)
        assert "Some weights of" not in report
