"""Execute notebooks strictly, without the network, and again whenever what they import has changed.

jupyter-cache decides by a notebook's own cells whether it must run again. A chapter's results depend on more: on the
library it calls, on its data and quizzes, on the versions installed. So the cache lives in a folder named by a hash of
all of those; when one of them changes there is a new, empty folder, and the old one is removed.
"""

import hashlib
import os
import platform
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
# A kernel inherits these. A claim that does not hold stops the build; a look at the hub fails at once.
ENVIRONMENT = {
    "COURSE_STRICT_CLAIMS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def fingerprint(root: Path = ROOT) -> str:
    """Hash everything outside a notebook that its results depend on.

    Args:
        root: The folder that holds course_lib/ and constraints.txt.

    Returns:
        16 hexadecimal digits, equal for equal contents.
    """
    digest = hashlib.sha256(f"python {platform.python_version()} {platform.machine()}".encode())
    files = [path for path in (root / "course_lib").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    quizzes = (root / "notebooks" / "quiz").glob("*.json")
    for path in sorted([*files, *quizzes, root / "constraints.txt"]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def choose_cache(app: Sphinx, config: Config) -> None:
    """Point myst-nb at the folder that belongs to the present library, data and versions; remove older ones."""
    parent = Path(app.outdir).parent / ".jupyter_cache"
    cache = parent / fingerprint()
    for old in parent.iterdir() if parent.is_dir() else ():
        if old != cache:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    logger.info("notebook cache: %s (%s)", cache, "kept" if cache.is_dir() else "new")
    config.nb_execution_cache_path = str(cache)


def name_solutions(app: Sphinx, doctree: nodes.document) -> None:
    """Call a collapsed solution by its name; every other collapsed cell keeps myst-nb's words."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and "tag_solution" in cell["classes"]:
            cell["prompt_show"], cell["prompt_hide"] = "Show the solution", "Hide the solution"


def setup(app: Sphinx) -> dict[str, bool | str]:
    """Set the kernels' environment and choose the cache before myst-nb reads its configuration."""
    os.environ.update(ENVIRONMENT)
    app.connect("config-inited", choose_cache)
    app.connect("doctree-read", name_solutions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
