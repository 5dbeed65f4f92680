"""What few rights on a mailbox of somebody else are good for, and what their loss means at once."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests.realtime.windows import deliver, over_pipe
from tests.view.test_shared import Site, names


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_who_may_post_alone(site: Site) -> None:
    """RFC 4314 4: without l and r, too; flags that he may not set are left out, none is a reason for NO."""
    site.allow("ann/.Pub", "bob i")
    found = site.say(
        "a APPEND #shared.ann.Pub (\\Seen \\Flagged \\Deleted kw) {1+}\r\nx", "b SELECT INBOX",
        "c STORE 1 +FLAGS (\\Seen kw)", "d COPY 1 #shared.ann.Pub", "e MOVE 1 #shared.ann.Pub",
        "f SELECT #shared.ann.Pub", 'g LIST "" #shared.ann.*')
    assert [found[tag][-1][2:4] for tag in "abcdef"] == ["OK"] * 5 + ["NO"]
    assert names(found["g"]) == ["#shared.ann.Pub.In", "#shared.ann.Pub"]
    owner = site.say("a SELECT INBOX.Pub", "b FETCH 1:* FLAGS", user="ann")
    assert owner["b"][:-1] == [f"* {number} FETCH (FLAGS (\\Recent))" for number in (1, 2, 3)]


def test_a_level_is_one_whatever_is_hidden_there(site: Site) -> None:
    """Above what may be seen: a mailbox that may not be looks like none.  RFC 4314 4."""
    site.allow("ann/.Pub")
    for part in ("cur", "new", "tmp"):
        (site.home / "ann/.Pab.In" / part).mkdir(parents=True)
    site.allow("ann/.Pab.In", "bob lr")
    commands = ('LIST "" #shared.ann.{}', 'LIST "" #shared.ann.{}*', 'LIST "" #shared.ann.{}.%',
                'LIST (RECURSIVEMATCH SUBSCRIBED) "" #shared.ann.{}%',
                'LIST "" #shared.ann.{} RETURN (MYRIGHTS)',
                'LIST "" #shared.ann.{} RETURN (STATUS (MESSAGES))', 'LIST (ACL MYRIGHTS) "" #shared.ann.{}',
                "SELECT #shared.ann.{}", "STATUS #shared.ann.{} (MESSAGES)", "MYRIGHTS #shared.ann.{}",
                "GETQUOTAROOT #shared.ann.{}", "DELETE #shared.ann.{}")
    found = site.say("x SUBSCRIBE #shared.ann.Pub.In", "y SUBSCRIBE #shared.ann.Pab.In",
                     *[f"{name}{at} {command.format(name)}" for name in ("Pub", "Pab")
                       for at, command in enumerate(commands)])
    for at, command in enumerate(commands):
        assert [line.replace("Pab", "Pub") for line in found[f"Pab{at}"]] == found[f"Pub{at}"], command


@pytest.mark.parametrize(("rights", "flags", "state"), [
    ("lr", "", "READ-ONLY"), ("lrs", "\\Seen", "READ-WRITE"), ("lri", "", "READ-WRITE"),
    ("lrw", "\\* \\Draft \\Answered \\Flagged", "READ-WRITE"), ("lrt", "\\Deleted", "READ-WRITE"),
    ("lre", "", "READ-WRITE"), ("lrxa", "", "READ-ONLY")])
def test_what_can_be_changed_is_told(site: Site, rights: str, flags: str, state: str) -> None:
    """RFC 4314 5.1.1, 5.2."""
    site.allow("ann/.Pub", f"bob {rights}")
    said = site.say("a SELECT #shared.ann.Pub")["a"]
    assert said[-1].startswith(f"a OK [{state}]")
    assert [line for line in said if f"[PERMANENTFLAGS ({flags})]" in line]


def test_who_is_shut_out_while_he_waits(site: Site) -> None:
    """In IDLE he is told of no mail that comes behind the owner's SETACL.  RFC 4314 5.1.1."""
    client = over_pipe(site.home / "bob", AUTHENTICATED="bob", **site.environ)
    owner = over_pipe(site.home / "ann", AUTHENTICATED="ann", **site.environ)
    try:
        client.do("SELECT #shared.ann.Pub")
        client.idle()
        deliver(site.home / "ann/.Pub", "1700000001.M1P1.host")
        client.until("* 1 RECENT")
        owner.do("SETACL INBOX.Pub bob -r")
        deliver(site.home / "ann/.Pub", "1700000002.M2P1.host")
        told = client.until("* BYE")
        assert told[-1] == "* BYE [NOPERM] You may not read this mailbox any more."
        assert "* 2 EXISTS" not in told and client.buffer == b""
    finally:
        client.close()
        owner.close()


def test_names_of_users_are_whole_words(site: Site) -> None:
    """anyone2 is not anyone, and a name with dots comes back as it was said."""
    owner = site.say("a SETACL INBOX.Hidden anyone2 lr", "b SETACL INBOX.Hidden a.b@c.d lr",
                     "c GETACL INBOX.Hidden", user="ann")
    assert owner["c"][-2].endswith('"anyone2" "lr" "a.b@c.d" "lr"')
    for user, seen in (("bob", False), ("anyone2", True), ("a.b@c.d", True), ("anyone", False), ("a", False)):
        (site.home / user).mkdir(exist_ok=True)
        for part in ("cur", "new", "tmp"):
            (site.home / user / part).mkdir(exist_ok=True)
        assert site.say("a SELECT #shared.ann.Hidden", user=user)["a"][-1].startswith(
            "a OK" if seen else "a NO [NONEXISTENT]"), user


def test_subscriptions_are_the_readers_own(site: Site) -> None:
    """With l and r alone, and the next time too; nothing is written at the owner's."""
    def files() -> set[Path]:
        return set((site.home / "ann").rglob("*subscribed*"))

    site.say("a SUBSCRIBE #shared.ann.Pub.In", 'b SUBSCRIBE "#shared.d o t"')
    found = site.say('a LSUB "" #shared.*', 'b SELECT "#shared.d o t"', 'c UNSUBSCRIBE "#shared.d o t"')
    assert names(found["a"]) == ["#shared.ann.Pub.In", "#shared.d o t"]
    assert found["b"][-1].startswith("b OK [READ-ONLY]")
    assert names(site.say('a LSUB "" #shared.*')["a"]) == ["#shared.ann.Pub.In"]
    assert files() == set()


def test_an_index_that_cannot_be_read_for_now(site: Site) -> None:
    """A session goes on by what it said before: who is in doubt says nothing is gone."""
    client = over_pipe(site.home / "bob", AUTHENTICATED="bob", **site.environ)
    index = site.home / "index"
    try:
        client.do("SELECT #shared.ann.Pub")
        before = client.do('LIST "" #shared.*')
        index.rename(site.home / "away")
        index.symlink_to(index)
        assert client.do('LIST "" #shared.*') == before
        deliver(site.home / "ann/.Pub", "1700000009.M1P1.host")
        assert "* 1 EXISTS" in client.do("NOOP")
        client.do("SELECT INBOX")
        index.unlink()
        (site.home / "away").rename(index)
        index.write_text(index.read_text().replace("ann", "eve", 1))
        assert any("#shared.eve.Pub" in line for line in client.do('LIST "" #shared.*'))
    finally:
        client.close()


def test_an_index_that_goes_away(site: Site) -> None:
    """While a session is there, and before one begins: what is one's own goes on."""
    client = over_pipe(site.home / "bob", AUTHENTICATED="bob", **site.environ)
    try:
        client.do("SELECT INBOX")
        assert len(client.do('LIST "" #shared.*')) == 7
        (site.home / "index").unlink()
        assert client.do('LIST "" #shared.*') == []
        deliver(site.home / "bob", "1700000009.M1P1.host")
        assert "* 2 EXISTS" in client.do("NOOP")
    finally:
        client.close()
    with site.start("bob") as process:
        out, errors = process.communicate(b'a LIST "" #shared.*\r\nb SELECT #shared.ann.Pub\r\n'
                                          b'c SELECT INBOX\r\nz LOGOUT\r\n', timeout=60)
    assert b"\r\na OK" in out and b"\r\nb NO [NONEXISTENT]" in out and b"\r\nc OK" in out
    assert errors.count(b"\n") <= 1 + errors.count(b"INFO: "), errors
