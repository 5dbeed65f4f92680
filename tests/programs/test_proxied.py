"""Sessions at another host beside each other, and what the administrator and signals do to them."""
from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from courierpy.admin import online
from courierpy.system.presence import SETTING
from tests.conftest import until
from tests.programs.chain import DEADLINE, eventually
from tests.programs.test_doorway import login_processes
from tests.programs.test_proxy import WAYS, Host, Proxied, account, again, hosts, line_of, log_in, proxied
from tests.programs.test_who import Host as Tools

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "SECONDS", DEADLINE)


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Proxied, Tools]]:
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as top:
        os.chmod(top, 0o755)
        tools = Tools(Path(top))
        settings = {**WAYS[request.param], "CONFIGDIRECTORY": str(tools.config), SETTING: str(tools.run),
                    "MAXPERUSER": "2"}
        with proxied(**settings) as found:
            yield found, tools


@pytest.fixture
def stack(server: tuple[Proxied, Tools]) -> Iterator[ExitStack]:
    """Clients; at the end nobody is on, and no file is left."""
    with ExitStack() as found:
        yield found
    tools = server[1]
    eventually(lambda: tools.who() == [])
    folder = tools.run / next(name for name in os.listdir(tools.run) if name != "others")
    eventually(lambda: os.listdir(folder) == ["told"])


def session(server: Proxied, stack: ExitStack, user: bytes = b"moved") -> socket.socket:
    client, said = log_in(server.front, user)
    stack.enter_context(client)
    assert said.startswith(b"a OK "), said
    return client


def ends(client: socket.socket) -> bytes:
    """All that it hears."""
    return until(client, b"no client hears this")


def test_they_are_on(server: tuple[Proxied, Tools], stack: ExitStack) -> None:
    """Who tells them, and they count; the next one is refused, and may be when another one has ended."""
    front, tools = server
    first, second = session(front, stack), session(front, stack)
    eventually(lambda: tools.states() == ["proxied", "proxied"])
    one = tools.who("moved")[0]
    assert (one["protocol"], one["mailbox"], str(one["ip"])) == ("IMAP", None, "127.0.0.1")
    refused, said = log_in(front.front)
    stack.enter_context(refused)
    assert said == b"a NO [LIMIT] You have 2 sessions, and may have no more: end another one.\r\n"
    first.sendall(b"b LOGOUT\r\n")
    assert b"b OK" in ends(first)
    first.close()
    eventually(lambda: tools.states() == ["proxied"])
    session(front, stack)
    second.sendall(b"b NOOP\r\n")
    assert b"b OK" in until(second, b"b OK")


def test_they_are_ended_by_the_administrator(server: tuple[Proxied, Tools], stack: ExitStack) -> None:
    """Without a word, which might stand in the middle of what the host says; another user's go on."""
    front, tools = server
    account(front.front, "other", f"127.0.0.1:{front.back.port}")
    again(front.back, "other")
    gone, stays = session(front, stack), session(front, stack, b"other")
    eventually(lambda: tools.states() == ["proxied", "proxied"])
    assert tools.tool("kick", "-m", "Away", "moved") == 0
    assert ends(gone) == b""
    assert [each["user"] for each in tools.who()] == ["other"]
    stays.sendall(b"b NOOP\r\n")
    assert b"b OK" in until(stays, b"b OK")
    gone = session(front, stack)
    assert tools.tool("deny", "-k", "-m", "Pay first", "moved") == 0
    assert ends(gone) == b""
    refused, said = log_in(front.front, rest=b"b LOGIN other demo\r\n")
    stack.enter_context(refused)
    assert said == b"a NO [CONTACTADMIN] Pay first\r\n"
    assert line_of(refused).startswith(b"b OK")
    assert tools.tool("deny", "-a", "moved") == 0
    session(front, stack)


def test_nobody_is_sent_on_while_it_is_shut_down(server: tuple[Proxied, Tools], stack: ExitStack) -> None:
    """Who was greeted before, and logs in only then; the host hears nothing of it."""
    front, tools = server
    early = stack.enter_context(front.front.greeted())
    count = front.back.log.read_text().count("Connection, ")
    try:
        assert tools.tool("shutdown", "Back at noon") == 0
        late = stack.enter_context(front.front.connect())
        assert ends(late) == b"* BYE [ALERT] Back at noon\r\n"
        early.sendall(b"a LOGIN moved demo\r\n")
        assert ends(early) == b"* BYE [ALERT] Back at noon\r\n"
    finally:
        assert tools.tool("shutdown", "--cancel") == 0
    assert front.back.log.read_text().count("Connection, ") == count
    session(front, stack)


def test_a_file_that_keeps_all_out(tmp_path: Path) -> None:
    """IMAP_NOLOGIN, by both ways."""
    nologin = tmp_path / "nologin"
    for way in WAYS.values():
        with proxied(IMAP_NOLOGIN=str(nologin), **way) as server, server.front.greeted() as early:
            nologin.write_text("Moving the disks\n")
            early.sendall(b"a LOGIN moved demo\r\n")
            assert ends(early) == b"* BYE [ALERT] Moving the disks\r\n"
            nologin.unlink()


@pytest.fixture(scope="module")
def one_process() -> Iterator[Proxied]:
    """All clients of the front are in one login process."""
    with proxied(IMAP_LOGIN_PROCESSES="1", PROXY_TIMEOUT="600") as found:
        yield found


host = pytest.fixture(name="host")(hosts)


def test_a_host_that_is_slow_holds_up_nobody_else(one_process: Proxied, host: Callable[..., Host]) -> None:
    """Many wait for one that says nothing, and one for a name that the resolver is not asked twice for."""
    go = threading.Event()
    slow = host(lambda client: go.wait(DEADLINE) and client.sendall(b"* BYE not today\r\n"))
    account(one_process.front, "slow", f"127.0.0.1:{slow.port}")
    with ExitStack() as stack:
        waiting = []
        for _ in range(5):
            client = stack.enter_context(one_process.front.greeted())
            client.sendall(b"a LOGIN slow demo\r\n")
            waiting.append(client)
        for _ in range(3):
            client, said = one_process.login(rest=b"b NOOP\r\n")
            stack.enter_context(client)
            assert said.startswith(b"a OK") and line_of(client).startswith(b"b OK")
        assert len(login_processes(one_process.front)) == 2        # one of them connects
        go.set()
        for client in waiting:
            assert until(client, b"\r\n").startswith(b"a NO [UNAVAILABLE]")


def test_what_the_client_does_not_take_the_host_is_not_asked_for(one_process: Proxied,
                                                                 host: Callable[..., Host]) -> None:
    """Both ways: a sender comes to a stop by what the kernel and a mark of octets hold, and all arrives."""
    octets = 32 << 20
    sent = [0, 0]
    heard = threading.Event()

    def send(end: socket.socket, which: int) -> None:
        piece = b"x" * 65536
        while sent[which] < octets:
            sent[which] += end.send(piece[:octets - sent[which]])

    def answer(client: socket.socket) -> None:
        client.sendall(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
        until(client, b"\r\n")
        client.sendall(b"p1 OK [CAPABILITY IMAP4rev1] in\r\n")
        sender = threading.Thread(target=send, args=(client, 0), daemon=True)
        sender.start()
        heard.wait(DEADLINE)           # and until then nothing that the client says is taken
        left = octets
        while left:
            left -= len(client.recv(65536))
        sender.join(DEADLINE)
    there = host(answer)
    account(one_process.front, "large", f"127.0.0.1:{there.port}")
    client, said = log_in(one_process.front, b"large")
    with client:
        assert said.startswith(b"a OK")
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            send(client, 1)
        settled = list(sent)
        assert all(0 < count < octets for count in settled)
        other, said = one_process.login(rest=b"b NOOP\r\n")
        with other:
            assert said.startswith(b"a OK") and line_of(other).startswith(b"b OK")
        client.settimeout(DEADLINE)
        heard.set()
        sender = threading.Thread(target=send, args=(client, 1), daemon=True)
        sender.start()
        left = octets
        while left:
            piece = client.recv(1 << 20)
            assert piece
            left -= len(piece)
        sender.join(DEADLINE)
        assert sent == [octets, octets]


def test_who_says_no_more_is_answered_still(one_process: Proxied) -> None:
    """The client shuts its side down; the host, which is plain, is told, and says its last."""
    client, said = one_process.login()
    with client:
        assert said.startswith(b"a OK")
        client.sendall(b"b SELECT INBOX\r\nc FETCH 1 (UID)\r\nd LOGOUT\r\n")
        client.shutdown(socket.SHUT_WR)
        assert b"d OK" in ends(client)
    one_process.front.wait_log("DISCONNECTED, user=moved")


def test_settings_are_read_again(host: Callable[..., Host]) -> None:
    """Sessions stay, and so does a login that is on its way; the end of the listener cuts them."""
    with proxied(IMAP_LOGIN_PROCESSES="1", PROXY_TIMEOUT="600") as server, ExitStack() as stack:
        client = session(server, stack)
        go = threading.Event()

        def answer(end: socket.socket) -> None:
            go.wait(DEADLINE)
            end.sendall(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
            until(end, b"\r\n")
            end.sendall(b"p1 OK [CAPABILITY IMAP4rev1] in\r\n")
            until(end, b"\r\n")
            end.sendall(b"b OK done\r\n")
        there = host(answer)
        account(server.front, "slow", f"127.0.0.1:{there.port}")
        waiting = stack.enter_context(server.front.greeted())
        waiting.sendall(b"a LOGIN slow demo\r\nb NOOP\r\n")
        eventually(lambda: _has_peer(there.port))
        old = login_processes(server.front)
        server.front.hup(1)
        client.sendall(b"b NOOP\r\n")
        assert b"b OK" in until(client, b"b OK")
        go.set()
        assert b"b OK done" in until(waiting, b"b OK done")
        fresh = session(server, stack)
        for each in (client, waiting):
            each.close()
        eventually(lambda: not set(old) & set(login_processes(server.front)), "the old ones stay")
        server.front.process.terminate()
        assert ends(fresh) == b""
        assert server.front.process.wait(DEADLINE) == 0


def _has_peer(port: int) -> bool:
    """Is anybody connected to this port here?"""
    words = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(each[1].rpartition(":")[2], 16) == port and each[3] == "01" for each in words)


@pytest.mark.skipif(os.getuid() != 0, reason="by its root it is known which one that is")
def test_when_who_connects_has_ended_another_one_does(one_process: Proxied) -> None:
    def connects() -> list[int]:
        return [pid for pid in login_processes(one_process.front) if os.readlink(f"/proc/{pid}/root") == "/"]

    eventually(connects)
    first, = connects()
    os.kill(first, signal.SIGKILL)
    one_process.front.wait_log("the process that connects ended")
    eventually(lambda: connects() not in ([], [first]))
    client, said = one_process.login()
    with client:
        assert said.startswith(b"a OK")
