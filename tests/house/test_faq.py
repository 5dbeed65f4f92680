"""docs/faq.md quotes what the programs say: each message is looked for in the texts of the code."""
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPO

pytestmark = pytest.mark.source
PAGE = (REPO / "docs" / "faq.md").read_text()
# what stands for something else each time, and where one text is put before another
VARIES = re.compile(r"\.\.\.|[0-9][0-9.]*|: |\[[A-Z]+\] ?|\b(?:NO|BYE|OK|CRIT)\b|\bPATH\b")


def quoted() -> list[str]:
    """The messages in the first cells of the rows."""
    cells = [line.split("|")[1] for line in PAGE.splitlines()[4:] if line.startswith("|")]
    # what a mail program says itself is not ours
    return [text for cell in cells if not cell.strip().startswith("mutt:")
            for text in re.findall(r"`([^`]+)`", cell)]


def texts(path: Path) -> list[str]:
    """The strings of a file, each field of one as a NUL."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "\0"
                                 for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            found.append(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    return found


@pytest.fixture(scope="module")
def said() -> str:
    """All that our programs can say."""
    everything = [text for path in (REPO / "courierpy").rglob("*.py") for text in texts(path)]
    return "\n".join([*everything, (REPO / "Makefile").read_text()])


@pytest.mark.parametrize("message", quoted())
def test_each_message_is_said(message: str, said: str) -> None:
    codes = re.findall(r"\[([A-Z]+)\]", message)
    pieces = [piece.strip(" .,;") for piece in VARIES.split(message)]
    for piece in filter(None, pieces):
        assert piece in said, piece
    for code in codes:
        assert re.search(rf"\b{code}\b", said), code
    assert codes or any(" " in piece for piece in pieces) or re.fullmatch(r"[A-Z_]+=\d", message)
