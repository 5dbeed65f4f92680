"""Regular expressions that every Python from 3.11.0 on reads alike."""
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.source

HOUSE = Path(__file__).resolve().parents[2]
FILES = sorted(path for room in ("courierpy", "bench", "tools", "tests")
               for path in (HOUSE / room).rglob("*.py"))
# ``x++``, ``x*+``, ``x?+``, ``x{2}+``, ``(?>x)``: up to 3.11.4 they match too much (gh-100061, gh-106052);
# Maildir++ is a name
FAULTY = re.compile(r"(?<![Mm]aildir)[*+?}]\+|\(\?>")
PROSE = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def patterns(source: str) -> list[str]:
    """The literals of a module with ``re`` or ``later``, docstrings apart, as far as they may be patterns."""
    tree = ast.parse(source)
    if not any(isinstance(node, ast.Import | ast.ImportFrom)
               and any(name.name in ("re", "later") for name in node.names) for node in ast.walk(tree)):
        return []
    prose = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, PROSE)
             and node.body and isinstance(node.body[0], ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and id(node) not in prose:
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            # what is escaped or in a class of characters is no repetition
            text = re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "x", text, flags=re.S)
            found.append(re.sub(r"\\.", "x", text, flags=re.S))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_possessive_quantifier_and_no_atomic_group(path: Path) -> None:
    if path == Path(__file__):
        return
    assert [text for text in patterns(path.read_text()) if FAULTY.search(text)] == []


def test_they_would_be_seen() -> None:
    for text in (r'rb"a++"', r'rb"(?:b|c)*+"', r'f"{x}[^a]?+"', r'"a{2,3}+"', r'"(?>a)"'):
        assert any(FAULTY.search(one) for one in patterns(f"import re\nP = re.compile({text})\n")), text
        later = f"from courierpy.model.regex import later\nP = later({text})\n"
        assert any(FAULTY.search(one) for one in patterns(later)), text
    for text in (r'rb"a\++"', r'rb"[*+?]+"', r'"a+b+"', r'"(?:a)+"'):
        assert not any(FAULTY.search(one) for one in patterns(f"import re\nP = re.compile({text})\n")), text


# how a number is bounded there instead
BOUNDED = {"model/numbers.py": "it is the place", "imap/grammar/fetchitems.py": "asks for one octet",
           "maildir/index/columns.py": "asks for one octet", "maildir/formats/uiddb.py": "DIGITS"}


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to(HOUSE / "courierpy")],
                         ids=lambda path: str(path.relative_to(HOUSE)))
def test_numbers_are_bounded_before_int(path: Path) -> None:
    """A pattern takes no more digits than numbers have; what has none goes through ``model.numbers``."""
    source = path.read_text()
    assert not re.search(r"(?:\\d|\[0-9\])[+*]", source)
    if str(path.relative_to(HOUSE / "courierpy")) not in BOUNDED:
        assert not re.search(r"\.is(?:digit|decimal|numeric)\(", source)
