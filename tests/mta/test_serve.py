"""``courierpy serve`` for MTAs: several sockets of both kinds, bounds, reload, counts."""
from __future__ import annotations

import os
import re
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.lmtp.talk import Client, Post
from tests.lmtp.test_serve import Served, served, until
from tests.mta.talk import Asker, netstring, request

pytestmark = pytest.mark.server
TEXT = b"Subject: hello\r\n\r\nbody\r\n"


def asker(path: Path) -> Asker:
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(path))
    return Asker(end)


@pytest.fixture
def smmap(post: Post) -> Iterator[Served]:
    with served(post, SMMAP_SOCKET=str(post.folder / "smmap"), SMMAP_WORKERS="2",
                SMMAP_CONNECTIONS="10") as found:
        yield found
    assert not (post.folder / "smmap").exists()


def test_one_odd_program_ends_no_other(smmap: Served) -> None:
    """Who says half a request, what nobody understands, or goes in the middle, is alone with that."""
    path = smmap.post.folder / "smmap"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with asker(path) as good, asker(path) as half, asker(path) as odd, asker(path) as gone:
        assert good.map(b"ann") == "OK ann"
        half.send(b"21:virtual a")
        odd.send(b"5;")
        assert odd.map_reply().startswith(b"PERM ") and odd.ended()
        gone.send(netstring(b"virtual ann") * 100)
        gone.end.close()
        assert good.policy("ann") == "DUNNO"
        half.send(b"nn@x.example,")
        assert half.map_reply() == b"OK ann@x.example"
        # many questions at once, of one that does not read meanwhile; the socket holds all their answers
        half.send(netstring(b"virtual bob") * 100 + request("ann") * 100)
        assert good.map(b"nobody") == "NOTFOUND "
        assert [half.map_reply() for _ in range(100)] == [b"OK bob"] * 100
        assert [half.action() for _ in range(100)] == ["DUNNO"] * 100


def test_there_is_room_for_one_more(smmap: Served) -> None:
    """The one that was silent for longest goes; an MTA opens another connection when it wants to know."""
    path = smmap.post.folder / "smmap"
    first = asker(path)
    assert first.map(b"ann") == "OK ann"
    others = []
    for _ in range(10):
        others.append(asker(path))
        assert others[-1].map(b"ann") == "OK ann"
    assert first.ended()
    assert others[0].map(b"ann") == "OK ann"
    for each in (first, *others):
        each.end.close()


def parents() -> dict[int, int]:
    """pid -> that of the process that started it."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):                # it went meanwhile
            found[int(path.parent.name)] = int(path.read_bytes().rpartition(b")")[2].split()[1])
    return found


def below(pid: int) -> set[int]:
    """All processes that this one, or those that it started, have started."""
    above = parents()
    found, more = set(), {pid}
    while more:
        more = {each for each, parent in above.items() if parent in more}
        found |= more
    return found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
def test_more_accounts_than_one_process_keeps(post: Post) -> None:
    """Each uid has a process that looks, which is not started anew at each question."""
    users = {f"user{number}": 54300 + number for number in range(24)}
    for user, uid in users.items():
        post.account(user, f"uid={uid}|gid={uid}|home={post.folder / user}")
        for path in (post.folder / user, *(post.folder / user).rglob("*")):
            os.chown(path, uid, uid)
    path = post.folder / "smmap"
    with served(post, SMMAP_SOCKET=str(path)) as found, asker(path) as one:
        for user in users:
            assert one.policy(user, size="10") == "DUNNO"
        before = below(found.process.pid)
        assert len(before) > len(users)
        for user in [*users] * 3:
            assert one.policy(user, size="10") == "DUNNO"
        assert below(found.process.pid) == before


def test_settings_are_read_again(smmap: Served) -> None:
    post, path = smmap.post, smmap.post.folder / "smmap"
    with asker(path) as one:
        assert one.map(b"Ann") == "OK Ann"
        file = post.folder / "imapd"
        file.write_text(file.read_text() + "LMTP_FOLD_CASE=0\n")
        smmap.process.send_signal(signal.SIGHUP)
        until(lambda: "settings read again" in post.log.read_text(), "not read")
        assert one.map(b"Ann") == "NOTFOUND "
        assert one.map(b"ann") == "OK ann"


def test_several_sockets_of_each_kind(post: Post) -> None:
    port = free_port()
    second = post.folder / "lmtp2"
    with served(post, SMMAP_SOCKET=f"{post.folder / 's1'} 127.0.0.1:{port} {post.folder / 's2'}",
                LMTP_SOCKET=f"{post.folder / 'unused'}", more=("--lmtp", str(second))) as lmtp:
        for path in (lmtp.path, second):
            end = socket.socket(socket.AF_UNIX)
            end.connect(str(path))
            with Client(end, 0) as client:
                client.hello(b"<ann>")
                assert client.data(TEXT) == ["250 2.1.5"]
        for name in ("s1", "s2"):
            with asker(post.folder / name) as one:
                assert one.map(b"ann") == "OK ann"
        with Asker(socket.create_connection(("127.0.0.1", port))) as one:
            assert one.policy("ann") == "DUNNO"
        assert not (post.folder / "unused").exists()
    assert len(post.mail("ann")) == 2
    assert not second.exists() and not (post.folder / "s1").exists()


@pytest.mark.parametrize("word", ["0.0.0.0:25", "smmap", "192.0.2.1:10027", "[::1]", "127.0.0.1:0"])
def test_where_it_does_not_listen(word: str) -> None:
    from courierpy.listener.localsocket import Wrong, place
    with pytest.raises(Wrong):
        place(word)


def test_counts(post: Post) -> None:
    """METRICS: what LMTP and smmapd do, also where there is no other listener."""
    port = free_port()
    with served(post, METRICS=f"127.0.0.1:{port}", SMMAP_SOCKET=str(post.folder / "smmap")) as lmtp:
        with lmtp.client() as client:
            client.hello(b"<ann>", b"<bob>")
            assert client.data(b"Message-ID: <1@x>\r\n\r\n", 2) == ["250 2.1.5"] * 2
            assert client.say(b"MAIL FROM:<a@b>", b"RCPT TO:<nobody>", b"RCPT TO:<ann>") == [
                "250 2.1.0", "550 5.1.1", "250 2.1.5"]
            assert client.data(b"Message-ID: <1@x>\r\n\r\n") == ["250 2.1.5"]
            client.send(b"ODD\r\nQUIT\r\n")
            assert client.replies(2) == ["500 5.5.1", "221 2.0.0"] and client.ended()
        with asker(post.folder / "smmap") as one:
            assert one.map(b"ann") == "OK ann"
            assert one.policy("nobody") == "DUNNO"
        wanted = {'deliveries_total{result="delivered"}': 2, 'deliveries_total{result="duplicate"}': 1,
                  'sessions_begun_total{protocol="LMTP"}': 1, "delivery_seconds_count": 3,
                  'commands_total{protocol="LMTP",command="RCPT",result="ok"}': 3,
                  'commands_total{protocol="LMTP",command="RCPT",result="no"}': 1,
                  'commands_total{protocol="LMTP",command="unknown",result="no"}': 1,
                  'commands_total{protocol="LMTP",command="DATA",result="ok"}': 2,
                  'mta_questions_total{protocol="socketmap",result="yes"}': 1,
                  'mta_questions_total{protocol="policy",result="unknown"}': 1,
                  'listener_up{listener="lmtp"}': 1}
        until(lambda: wanted.items() <= counted(port).items(), "not counted")
        assert counted(port)['received_octets_total{protocol="LMTP"}'] > 100


def counted(port: int) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:                    # not there yet
        return {}
    return {match[1]: float(match[2]) for match in re.finditer(r"^courierpy_(\S+) (\S+)$", text, re.M)}
