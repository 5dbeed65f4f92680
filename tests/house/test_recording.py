"""The recording of the first minute: the files in docs/ agree with each other and with what is recorded."""
from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from tests.conftest import REPO, free_port, need
from tools import recording

pytestmark = pytest.mark.source

SVG = "{http://www.w3.org/2000/svg}"


def shown(cast: str) -> list[str]:
    """The lines as they stand in the end."""
    return ["".join(text for _, text in pieces) for pieces in recording.lines(cast)]


def check(cast: str) -> None:
    """It is an asciicast of what COMMANDS has, with what these commands answer."""
    head, *events = [json.loads(line) for line in cast.splitlines()]
    assert (head["version"], head["width"], head["height"]) == (2, recording.COLUMNS, recording.ROWS)
    times = [at for at, kind, text in events if kind == "o" and isinstance(text, str)]
    assert len(times) == len(events) and times == sorted(times)
    lines = shown(cast)
    commands = [line for line in lines if line.startswith("$ ")]
    assert len(commands) == len(recording.COMMANDS)
    for command, line in zip(recording.COMMANDS, commands, strict=True):
        assert re.fullmatch(re.escape(command.line).replace(r"\{port\}", r"\d+") + "( &)?", line[2:])
    text = "\n".join(lines)
    for pattern in (r"(?m)^listening on 127\.0\.0\.1 port \d+", r"(?m)^\* 4 FETCH \(FLAGS .*ENVELOPE",
                    r"(?m)^\* PREAUTH ", r"(?m)^\* 0 EXISTS$", r"(?m)^\* 1 EXISTS$", "The cards have come",
                    r"(?m)^d OK LOGOUT completed$"):
        assert re.search(pattern, text), pattern
    assert all(len(line) <= recording.COLUMNS for line in lines)
    named = re.findall(r"(?<![\w.:/])/[\w./-]+", text)
    assert [word for word in named if not word.startswith(recording.HOME)] == []


def test_what_is_shown_is_whole() -> None:
    cast = (REPO / "docs" / "first-minute.cast").read_text()
    check(cast)
    for command in recording.COMMANDS:
        for said, _ in command.said:
            assert said in (recording.DELIVER, *shown(cast))
    assert 10 < json.loads(cast.splitlines()[-1])[0] < 60
    picture = (REPO / "docs" / "first-minute.svg").read_text()
    assert picture == recording.picture(cast), "python -m tools.recording --draw"
    drawn = ["".join(one.itertext()) for one in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert drawn == shown(cast)
    readme = (REPO / "README.md").read_text()
    assert "](docs/first-minute.svg)" in readme
    assert recording.COMMANDS[1].line.format(port=1143) in readme


@pytest.mark.server
def test_it_is_made_anew() -> None:
    """With the real programs, and as it stands in docs/: each command is answered."""
    need("curl")
    cast = recording.record([free_port() for _ in range(4)]).cast()
    check(cast)
    for command in recording.COMMANDS:
        for said, answer in command.said:
            assert said in (recording.DELIVER, *shown(cast))
            assert re.search(answer, "\n".join(shown(cast))), said
    assert json.loads(cast.splitlines()[-1])[0] < 60       # however long it took: nobody watches pauses
    # the picture is drawn of it as of the one in docs/
    drawn = ElementTree.fromstring(recording.picture(cast)).iter(f"{SVG}text")
    assert ["".join(one.itertext()) for one in drawn] == shown(cast)


def test_lines_of_a_terminal() -> None:
    events = [(0.5, "o", "$ x"), (0.7, "i", "no"), (1.0, "o", "y\r\n"),
              (2.0, "o", "a\tb\r\r\n\r\n<&>" + "z" * 110)]
    cast = "{}\n" + "".join(json.dumps(event) + "\n" for event in events)
    assert recording.lines(cast) == [
        [(0.5, "$ x"), (1.0, "y")], [(2.0, "a       b")], [], [(2.0, "<&>" + "z" * 105)], [(2.0, "z" * 5)]]
    root = ElementTree.fromstring(recording.picture(cast))
    spans = [(one.get("style"), one.text) for one in root.iter(f"{SVG}tspan")]
    assert spans[1] == ("animation-duration:1s", "y")
    assert (spans[3][1] or "").startswith("<&>")
