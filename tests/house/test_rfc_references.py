"""References to RFCs: found in the code, merged with the states that are kept by hand."""
from __future__ import annotations

from pathlib import Path

import pytest

from tools import rfc_references
from tools.rfc_references import Row

pytestmark = pytest.mark.source


def test_references_are_found_in_prose(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""SELECT.  RFC 9051 6.3.2, 6.3.3.  As in RFC 2342, 5 times.'
                                     '\n\nRFC 7162\n3.1.4"""\n# RFC 9051\n# 7.5.1 wants it\n')
    assert rfc_references.references(tmp_path) == {
        (9051, "6.3.2"): ["one.py"], (9051, "6.3.3"): ["one.py"], (2342, ""): ["one.py"],
        (7162, "3.1.4"): ["one.py"], (9051, "7.5.1"): ["one.py"]}


def test_states_stay_and_files_follow_the_code() -> None:
    rows = rfc_references.parse("9051 6.4.5      part    old.py; no BINARY\n"
                                "4314 3          not     ACL has no file\n5256            done    gone.py\n")
    fresh = rfc_references.merged(rows, {(9051, "6.4.5"): ["new.py"], (9051, "6.4.10"): ["new.py"]})
    assert [row.text() for row in fresh] == [
        "4314 3          not     ACL has no file", "9051 6.4.5      part    new.py; no BINARY",
        "9051 6.4.10     done    new.py"]


@pytest.mark.parametrize("line", ["9051 6.4.5 maybe x.py", "nine done x.py", "9051"])
def test_a_line_that_is_no_row_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        rfc_references.parse(line)


def test_a_section_that_does_not_exist(monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rfc_references, "references", lambda folder: {(9051, "6.4.99"): ["imap/x.py"]})
    assert rfc_references.main(["", "--check"]) == 1
    assert "imap/x.py: RFC 9051 has no section 6.4.99" in capsys.readouterr().err


def test_the_key_sorts_by_number() -> None:
    assert Row(9051, "6.4.10", "done", []).key > Row(9051, "6.4.9", "done", []).key
