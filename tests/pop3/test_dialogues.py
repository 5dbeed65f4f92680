"""Every dialogue file beside this one, played against pop3d over pipes.

A header (``key: value``: ``mail``, or a variable of the environment), an empty line, then::

    > STAT               the client says that, with CRLF; \\0 is NUL, {n} n letters
    < +OK 2 54           it gets that; ``...`` alone is any line, $name is bound on first sight
    < end                the server closes
    = left one           behind the end there are the files of these messages, and no others
"""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pop3.client import MAILS, Pop3d, fill

HERE = Path(__file__).parent


def pattern(text: str, bound: dict[str, str]) -> str:
    if text == "...":
        return ".*"
    return re.sub(r"\\\$(\w+)", lambda word: re.escape(bound[word[1]]) if word[1] in bound
                  else f"(?P<{word[1]}>\\S+?)", re.escape(text))


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.txt")))
def test_dialogue(name: str, tmp_path: Path) -> None:
    head, _, body = (HERE / name).read_text(encoding="utf-8").partition("\n\n")
    keys = {key: value.strip() for key, _, value in (line.partition(":") for line in head.splitlines()
                                                     if not line.startswith("#"))}
    mails = [word.strip() for word in keys.pop("mail", "").split(",") if word.strip()]
    fill(tmp_path, *mails)
    bound: dict[str, str] = {}
    with Pop3d(tmp_path, **keys) as client:
        for row in body.splitlines():
            kind, _, text = row.partition(" ")
            if kind == ">":
                text = re.sub(r"\{(\d+)\}", lambda size: "x" * int(size[1]), text.replace("\\0", "\0"))
                client.say(text.encode())
            elif row == "< end":
                assert client.line() == b""
            elif kind == "<":
                got = client.line().decode()
                found = re.fullmatch(pattern(text, bound) + "\r\n", got)
                assert found, f"{row!r} was expected, not {got!r}"
                bound |= found.groupdict()
    if (left := re.search(r"^= left(.*)$", body, re.M)) is not None:
        files = sorted((tmp_path / "cur").iterdir())
        assert [file.read_bytes() for file in files] == [MAILS[word] for word in left[1].split()]
        assert not list((tmp_path / "new").iterdir())
