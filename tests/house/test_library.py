"""What docs/library.md says of the store and of messages."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPO, fill

BLOCKS = re.findall(r"^```python\n(.*?)^```", (REPO / "docs" / "library.md").read_text(), re.M | re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "Maildir", 0)
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"docs/library.md, example {number + 1}", "exec"), {})


def test_there_are_some() -> None:
    assert len(BLOCKS) >= 3
