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
def test_mail_with_the_name_of_a_message(site: Site, kind: str) -> None:
    """It comes beside that."""
    client = site.window()
    client.do(f"SELECT {NAMES[kind]}")
    deliver(site.pub, "1700000001.M1P1.host", b"Subject: another\n\nanother\n")
    client.do("NOOP")
    assert client.do("UID SEARCH ALL") == ["* SEARCH 1 2 3"]
    assert client.do("UID SEARCH SUBJECT another") == ["* SEARCH 3"]


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


@pytest.mark.parametrize("by", ["hand", "session"])
@pytest.mark.parametrize("kind", NAMES)
def test_notify(site: Site, kind: str, by: str) -> None:
    """What comes to a mailbox of others that is not selected, and what goes."""
    name, client = NAMES[kind], site.window()
    found = client.do(f"NOTIFY SET STATUS (mailboxes {name} (MessageNew MessageExpunge))")
    assert [line for line in found if line.startswith(f'* STATUS "{name}" (MESSAGES 2 ')]
    if by == "session":
        owner = site.window(site.team)
        owner.do("SELECT INBOX.Pub")
        owner.do("APPEND INBOX.Pub {3+}\r\nabc")
    else:
        deliver(site.pub, "1700000009.M9P1.host")
    assert client.until(f'* STATUS "{name}" (MESSAGES 3 ')
    if by == "session":
        owner.do("STORE 1 +FLAGS (\\Deleted)")
        owner.do("EXPUNGE")
    else:
        file = site.pub / "new" / "1700000001.M1P1.host"
        file.rename(site.pub / "cur" / f"{file.name}:2,").unlink()     # by another server
    assert client.until(f'* STATUS "{name}" (MESSAGES 2 ')


def test_notify_of_a_subtree_tells_of_what_may_be_seen_alone(site: Site) -> None:
    """And nothing of a mailbox whose rights are taken away meanwhile.  RFC 5465 5, 8."""
    hidden, open_to_all = site.team / ".Hidden", site.team / ".Open"
    for folder, rights in ((hidden, "user=demo s"), (open_to_all, "user=demo lrs")):
        fill(folder, 0)
        (folder / "courierimapacl").write_text(f"owner aceilrstwx\n{rights}\n")
    client = site.window()
    found = client.do('LIST "" "#shared.*" RETURN (STATUS (MESSAGES))')
    assert not [line for line in found if "Hidden" in line]
    assert sorted(line for line in found if line.startswith("* STATUS")) == [
        '* STATUS "#shared.team.Open" (MESSAGES 0)', '* STATUS "#shared.team.Pub" (MESSAGES 2)']
    client.do('NOTIFY SET STATUS (subtree "#shared.team" (MessageNew MessageExpunge))')
    deliver(hidden, "1700000009.M9P1.host")
    deliver(open_to_all, "1700000009.M9P1.host")
    told = client.until('* STATUS "#shared.team.Open" (MESSAGES 1 ')
    (open_to_all / "courierimapacl").write_text("owner aceilrstwx\n")
    deliver(open_to_all, "1700000010.M10P1.host")
    deliver(site.pub, "1700000010.M10P1.host")
    told += client.until('* STATUS "#shared.team.Pub" (MESSAGES 3 ')
    told += client.do("NOOP")
    assert not [line for line in told if "Hidden" in line or 'Open" (MESSAGES 2' in line]


@pytest.mark.parametrize("kind", NAMES)
def test_notify_tells_of_mailboxes_that_come_and_go(site: Site, kind: str) -> None:
    name, client = NAMES[kind].replace("Pub", "Made"), site.window()
    client.do(f"NOTIFY SET (subtree {kind}team (MailboxName MessageNew MessageExpunge))"
              f" (personal (MailboxName))")
    owner = site.window(site.team)
    owner.do("CREATE INBOX.Made")
    owner.do("SETACL INBOX.Made demo lrs")
    owner.do("CREATE INBOX.Other")             # a list of rights alone is no sign
    assert any(f'"{name}"' in line for line in client.until(f'* LIST (\\HasNoChildren) "." "{name}"'))
    deliver(site.team / ".Made", "1700000009.M9P1.host")
    assert client.until(f'* STATUS "{name}" (MESSAGES 1 ')
    told = client.do("NOOP")
    owner.do("DELETE INBOX.Made")
    told += client.until(f'* LIST (\\NonExistent \\HasNoChildren) "." "{name}"')
    # RFC 5465 5.4: the level above is affected too
    above = [line for line in told if line.endswith(f'"{kind}team"')]
    assert above and above[-1].startswith("* LIST (\\NonExistent")


@pytest.mark.parametrize("there", [True, False])
def test_notify_of_a_list_of_a_level(site: Site, there: bool) -> None:
    """What is no mailbox has a list, which is that of the mailboxes below."""
    fill(site.team / ".Level.Box", 0)
    levels = site.team / "courierimaphieracl"
    if there:
        levels.mkdir()
        (levels / "Level").write_text("owner aceilrstwx\n")
    client, name = site.window(), "#shared.team.Level.Box"
    client.do('NOTIFY SET (subtree "#shared.team" (MailboxName MessageNew MessageExpunge))')
    levels.mkdir(exist_ok=True)
    file = site.team / "tmp" / "new.acl"
    for rights, told in (("owner aceilrstwx\nuser=demo lr\n", "\\HasNoChildren"),
                         ("owner aceilrstwx\n", "\\NonExistent \\HasNoChildren")):
        file.write_text(rights)
        file.rename(levels / "Level")
        assert client.until(f'* LIST ({told}) "." "{name}"')


@pytest.mark.parametrize("top", ["", "team"])
@pytest.mark.parametrize("kind", NAMES)
def test_notify_of_a_maildir_of_which_nothing_was_seen(site: Site, kind: str, top: str) -> None:
    """It is seen later, hears of mail, and is seen no more.  RFC 5465 5.9."""
    away, rights = site.team.parent / "away", site.pub / "courierimapacl"

    def show(seen: bool) -> None:
        if kind == "#shared.":
            owner.do(f"{'SETACL' if seen else 'DELETEACL'} INBOX.Pub demo{' lrs' * seen}")
        else:
            away.rename(site.pub) if seen else site.pub.rename(away)

    rights.write_text("owner aceilrstwx\n")
    name, owner, client = NAMES[kind], site.window(site.team), site.window()
    if kind == "shared.":
        show(False)
    subtree = f"{kind}{top}".rstrip(".")
    client.do(f'NOTIFY SET (subtree "{subtree}" (MailboxName MessageNew MessageExpunge))')
    show(True)
    assert client.until(f'* LIST (\\HasNoChildren) "." "{name}"')
    deliver(site.pub, "1700000009.M9P1.host")
    assert client.until(f'* STATUS "{name}" (MESSAGES 3 ')
    show(False)
    gone = client.until('* LIST (\\NonExistent') + client.do("NOOP")
    assert [line for line in gone if line.startswith("* LIST (\\NonExistent") and f'"{name}"' in line]


def test_notify_of_ones_own_tells_nothing_of_others(site: Site) -> None:
    client = site.window()
    client.do("NOTIFY SET STATUS (personal (MessageNew MessageExpunge))")
    deliver(site.pub, "1700000009.M9P1.host")
    deliver(site.reader, "1700000009.M9P1.host")
    assert not [line for line in client.until('* STATUS "INBOX"') if "shared" in line]


def test_a_list_that_cannot_be_read_keeps_nobody_from_hearing_of_others(site: Site) -> None:
    """It came while the client waits; IDLE goes on."""
    odd = site.reader / ".Odd"
    fill(odd, 0)
    client = site.window()
    client.do("NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.idle()
    (odd / "courierimapacl").symlink_to("courierimapacl")
    deliver(odd, "1700000009.M9P1.host")
    deliver(site.reader, "1700000009.M9P1.host")
    assert client.until('* STATUS "INBOX" (MESSAGES 1 ')
    deliver(site.reader, "1700000010.M10P1.host")
    told = client.until('* STATUS "INBOX" (MESSAGES 2 ') + client.done()
    assert not [line for line in told if "Odd" in line]


@pytest.mark.parametrize("rights", ["eilrstwx", "lr"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_number_that_was_told_unasked_hides_nothing(site: Site, kind: str, rights: str) -> None:
    """A client keeps HIGHESTMODSEQ, comes back, and asks for what has changed only where it is told another
    one: by hand, by the owner, by another session of the same user.  RFC 7162 3.1.2.1."""
    (site.pub / "courierimapacl").write_text(f"owner aceilrstwx\nuser=demo {rights}\n")
    owner, other, name = site.window(site.team), site.window(), NAMES[kind]
    owner.do("SELECT INBOX.Pub")
    other.do(f"SELECT {name}")

    def number(client: Window) -> int:
        line = next(line for line in client.do(f"SELECT {name}") if "HIGHESTMODSEQ" in line)
        return int(line.split("HIGHESTMODSEQ ")[1].split("]")[0])

    def by_hand() -> None:
        file = next((site.pub / "cur").glob("1700000002.*"))
        file.rename(file.with_name(f"{file.name.partition(':')[0]}:2,FT"))

    steps = {3: lambda: deliver(site.pub, "1700000009.M9P1.host")}
    if kind == "#shared.":             # by links the flags are each reader's own
        steps[2] = by_hand
        steps[1] = lambda: owner.do("UID STORE 1 +FLAGS (\\Answered)")
    elif "w" in rights:
        steps[1] = lambda: other.do("UID STORE 1 +FLAGS (\\Answered word)")
    known = number(site.window())
    for uid, change in steps.items():
        change()
        client = site.window()
        now = number(client)
        assert now > known
        assert f"UID {uid} " in "".join(client.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {known})"))
        known = now
