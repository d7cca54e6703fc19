"""The examples of the documentation are what this product takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocol.paths import Paths
from supervisor.config import approvals
from supervisor.config.load import load

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```json5\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Whole configurations; a block that does not begin with a brace is a section to be put into one.
BLOCKS = [
    (page.name, number, text)
    for page in PAGES
    for number, text in enumerate(_BLOCK.findall(page.read_text()))
    if text.startswith("{")
]
CONFIGS = [one for one in BLOCKS if "version:" not in one[2]]


def test_the_examples_are_found() -> None:
    """A change of their form must not make this file test nothing."""
    assert {name for name, _, _ in CONFIGS} >= {"security.md", "sandbox.md", "configuration.md", "approvals.md"}


@pytest.mark.parametrize(("page", "number", "text"), CONFIGS, ids=[f"{name}-{number}" for name, number, _ in CONFIGS])
def test_an_example_is_a_good_configuration(page: str, number: int, text: str, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    paths = Paths.from_environ(environ)
    paths.state.mkdir(mode=0o700)
    paths.config.write_text(text)
    paths.config.chmod(0o600)
    names = sorted(set(_VARIABLE.findall(text)))
    environ |= {name: f"{place}:{name.lower()}" for place, name in enumerate(names, 1)}
    assert load(paths, environ).warnings == ()


def test_an_example_of_approvals_is_a_good_file(tmp_path: Path) -> None:
    (text,) = [text for _, _, text in BLOCKS if "version:" in text]
    paths = Paths.from_environ({"HOME": str(tmp_path)})
    paths.state.mkdir(mode=0o700)
    approvals.file_of(paths).write_text(text)
    assert (approvals.read(paths).agents or {}).keys() == {"main"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []
