"""Every configuration in the two founding documents is good as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.paths import Paths
from supervisor.config import parse
from supervisor.config.load import evaluate

BLOCKS = sorted((Path(__file__).parent / "seeds").glob("*.json5"))
PATHS = Paths.from_environ({"HOME": "/home/tester"})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda path: path.stem)
def test_an_example_of_the_documents_is_valid(block: Path) -> None:
    """Copied from the documents, byte for byte; the text parses and nothing in it is called wrong."""
    loaded = evaluate(parse.parse(block.read_text(), block), PATHS, {})
    assert loaded.config.agents.list


def test_all_ten_examples_are_here() -> None:
    """Eight of the multi-agent page, two of the tutorial."""
    assert len(BLOCKS) == 10
