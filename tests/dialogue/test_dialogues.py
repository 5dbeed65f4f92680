"""Every dialogue file beside this one, played against imapd over pipes."""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("dialogue_notation", HERE / "notation.py")
assert _spec is not None and _spec.loader is not None
notation = importlib.util.module_from_spec(_spec)
sys.modules["dialogue_notation"] = notation
_spec.loader.exec_module(notation)


@pytest.mark.parametrize("name", sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.txt")))
def test_dialogue(name: str, tmp_path: Path) -> None:
    notation.Player(notation.Dialogue(HERE / name), tmp_path).run()
