"""maildirkw and maildirwatch: Courier's letters and exit codes."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from courierpy.admin import maildirkw, maildirwatch
from tests.conftest import fill, need
from tests.realtime.windows import over_pipe

ONE, TWO = "1700000001.M1P1.host", "1700000002.M2P1.host"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    fill(tmp_path / "M", 1)
    (tmp_path / "M/cur" / f"{TWO}:2,S").write_text("Subject: x\n\nx\n")
    return tmp_path / "M"


STEPS = (["{}", f"{TWO}:2,S", "a", "b"], ["-l", "-a", "{}", TWO, "c", "A"], ["-r", "{}", TWO, "B"],
         ["{}", ONE, "x"], ["{}", ONE])


def test_keywords(maildir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for step in STEPS:
        assert maildirkw.main([word.format(maildir) for word in step]) == 0
        assert maildirkw.main(["-L", str(maildir)]) == 0
        told.append(capsys.readouterr().out)
    assert told == [f"{TWO} a b\n", f"{TWO} a b c\n", f"{TWO} a c\n", f"{TWO} a c\n{ONE} x\n", f"{TWO} a c\n"]
    client = over_pipe(maildir)
    client.do("SELECT INBOX")
    assert client.do("FETCH 2 FLAGS") == ["* 2 FETCH (FLAGS (\\Seen \\Recent a c))"]
    client.close()
    assert maildirkw.main(["-L", str(maildir)]) == 0
    assert capsys.readouterr().out == f"{TWO} a c\n"


@pytest.mark.parametrize("words", [
    [], ["{}"], ["-L", "{}", ONE], ["{}", "none", "x"], ["{}", ONE, "a b"], ["{}", ONE, "\\Seen"],
    ["{}", ONE, ""], ["-a", "-r", "{}", ONE, "x"]])
def test_wrong_words(words: list[str], maildir: Path) -> None:
    try:
        assert maildirkw.main([word.format(maildir) for word in words]) == 1
    except SystemExit as end:
        assert end.code
    assert not (maildir / "courierimapkeywords").exists()


@pytest.mark.peers
def test_keywords_with_courier(maildir: Path) -> None:
    """Each reads what the other wrote."""
    tool = need("/usr/bin/maildirkw")
    subprocess.run([tool, str(maildir), TWO, "a", "b"], check=True, timeout=60)
    assert maildirkw.main(["-a", str(maildir), TWO, "c"]) == 0
    done = subprocess.run([tool, "-L", str(maildir)], check=True, timeout=60, capture_output=True)
    (line,) = done.stdout.decode().splitlines()
    assert (line.split()[0], sorted(line.split()[1:])) == (TWO, ["a", "b", "c"])


def test_watch(maildir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command brings mail twice, and fails the third time."""
    script = f'n=$(ls "{maildir}/new" | wc -l); [ $n -lt 3 ] || exit 7; : > "{maildir}/new/$n"'
    assert maildirwatch.main([str(maildir), "sh", "-c", script]) == 0
    assert capsys.readouterr().out == "7\n"
    assert len(list((maildir / "new").iterdir())) == 3
    assert maildirwatch.main([str(tmp_path), "true"]) == 1
