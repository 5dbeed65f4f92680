"""Sessions on what others share hear of changes at once: ``#shared.`` by the index, ``shared.`` by files."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import fill
from tests.realtime.windows import Window, deliver, over_pipe

NAMES = {"#shared.": "#shared.team.Pub", "shared.": "shared.team.Pub"}


class Site:
    """``pub``: the mailbox that a reader has by both ways."""

    def __init__(self, home: Path) -> None:
        self.reader, self.team = home / "reader", home / "team"
        self.pub = self.team / ".Pub"
        fill(self.team, 0)
        fill(self.pub, 2)
        fill(self.reader, 0)
        (self.pub / "courierimapacl").write_text("owner aceilrstwx\nuser=demo eilrstwx\n")
        (self.reader / "shared-maildirs").write_bytes(b"team\t%s\n" % os.fsencode(self.team))
        self.index = home / "index"
        self.index.write_text(f"team\t7\t7\t{home}\t./team\n")
        self.windows: list[Window] = []

    def window(self, maildir: Path | None = None) -> Window:
        self.windows.append(over_pipe(maildir or self.reader, IMAP_SHAREDINDEXFILE=str(self.index)))
        return self.windows[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for window in made.windows:
        window.close()


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("by", ["hand", "session"])
def test_idle(site: Site, kind: str, by: str) -> None:
    """What comes and what goes is told while the client waits: nobody looks by the minute."""
    client = site.window()
    client.do(f"SELECT {NAMES[kind]}")
    assert client.idle()[0].startswith("+ entering ENHANCED")
    owner = site.window(site.team) if by == "session" else None
    if owner is not None:
        owner.do("SELECT INBOX.Pub")
        owner.do("APPEND INBOX.Pub {3+}\r\nabc")
    else:
        deliver(site.pub, "1700000009.M9P1.host")
    assert client.until("* 3 EXISTS")
    if owner is not None:
        owner.do("NOOP")
        owner.do("STORE 1 +FLAGS (\\Deleted)")
        owner.do("EXPUNGE")
    else:
        next((site.pub / "cur").glob("1700000001.*")).unlink()
    assert client.until("* 1 EXPUNGE")
    client.done()
    assert client.do("UID SEARCH ALL") == ["* SEARCH 2 3"]


@pytest.mark.parametrize("kind", NAMES)
def test_flags_of_another_window(site: Site, kind: str) -> None:
    """Flags, keywords and the numbers of changes are told to the same user's other session."""
    client, other = site.window(), site.window()
    client.do(f"SELECT {NAMES[kind]} (CONDSTORE)")
    other.do(f"SELECT {NAMES[kind]}")
    client.idle()
    other.do("STORE 2 +FLAGS (\\Seen word)")
    told = client.until("* 2 FETCH")[-1]
    assert "\\Seen" in told
    assert "word" in told
    assert "MODSEQ (" in told
    client.done()
    changed = client.do("FETCH 1:* (UID FLAGS) (CHANGEDSINCE 1)")
    assert [line for line in changed if "word" in line and "UID 2" in line]
