"""The worker that stands at the doorway, the helper behind it, and who answers a login process when.

The helper is a process with its workers; we are couriertcpd and a login process at the other ends."""
from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, helper, questions, standing, tickets
from courierpy.auth.protocol import render_request
from courierpy.system import channels, passing, proc
from tests.programs.chain import DEADLINE, eventually

PID = 4711                     # of the login process
DOORWAY, JOB = "/doorway", "/job"      # homes of accounts: was it answered at the doorway, or for the helper?
_home = JOB


def slowly(request: Request) -> Account:
    """A module that has its place (STANDS): "slow" waits for a file, "dies" dies, "cannot" is not told."""
    place = Path(request.environ["HOME"])
    if request.user == "slow":
        (place / "at-it").write_text(str(os.getpid()))
        while not (place / "go").exists():
            time.sleep(0.01)
    if request.user == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.user == "cannot":
        raise TemporaryFailure("the module cannot tell")
    if request.password != "secret" or request.user not in ("slow", "bob"):
        raise Rejected
    return Account(f"{request.user}@custom", 1, 1, _home, maildir=str(os.getpid()))


def at_the_doorway(module: str, request: Request, look: helper.Look | None) -> bytes:
    """What a worker does with a question that it took itself."""
    global _home
    _home = DOORWAY
    try:
        return helper.answer(module, request, look)
    finally:
        _home = JOB


class Doorway:
    """``home``: where a slow question waits for the file ``go``.  ``way``: by which clients are given."""

    def __init__(self, home: Path, grants: socket.socket, way: socket.socket, end: socket.socket,
                 pid: int) -> None:
        self.home = home
        self.grants = grants
        self.way = way
        self.end = end
        self.pid = pid
        self._number = 0
        self._heard: dict[int, tuple[bytes, bytes]] = {}
        self._granted: dict[bytes, bytes] = {}

    def asks(self, user: str, password: str = "secret") -> int:
        self._number += 1
        asked = render_request(Request("login", "imap", {}, user=user, password=password))
        passing.send(self.end, [channels.QUESTION.pack(self._number, channels.ASK), asked])
        return self._number

    def asks_for(self, client: socket.socket, user: str, password: str = "secret") -> int:
        """``client``: comes with the question, its number is that of this."""
        self._number += 1
        asked = render_request(Request("login", "imap", {}, user=user, password=password))
        variables = channels.pack({"IMAPLOGINTAG": "a"})
        passing.send(self.end, [channels.QUESTION.pack(self._number, channels.ASK_FOR),
                                channels.FOR.pack(100 + self._number, len(variables)), variables, asked],
                     (client.fileno(),))
        return self._number

    def hears(self, number: int) -> bytes:
        """The kind of the answer; of a ticket the account, where couriertcpd hears the same."""
        def heard() -> bool:
            for data, _ in passing.waiting(self.end, "helper"):
                if not data:
                    assert number in self._heard, "the helper is gone"
                    break
                its, kind = channels.QUESTION.unpack_from(data)
                assert its not in self._heard
                self._heard[its] = kind, data[channels.QUESTION.size:]
            return number in self._heard
        eventually(heard)
        kind, rest = self._heard.pop(number)
        if kind == channels.BEGUN:
            return kind + rest
        if kind != channels.GRANTED:
            return kind
        for data, _ in passing.waiting(self.grants, "helper"):
            if not data:               # it has ended since
                break
            ticket, pid = channels.GRANT.unpack_from(data)
            assert pid == PID
            self._granted[ticket] = data[channels.GRANT.size:]
        return self._granted.pop(rest.partition(b"\0")[2][:channels.TICKET_OCTETS])

    def worker_of(self, number: int) -> int:
        """The process that has granted it, as the module above says it."""
        return self._granted_by(number)[0]

    def _granted_by(self, number: int) -> tuple[int, str]:
        """..., and DOORWAY or JOB."""
        account = dict(line.split("=", 1) for line in self.hears(number).decode().split("\n") if "=" in line)
        return int(account["MAILDIR"]), account["HOME"]

    def stands(self) -> int:
        """The worker at the doorway, once it is there."""
        def stood() -> bool:
            nonlocal worker
            worker, home = self._granted_by(self.asks("bob"))
            return home == DOORWAY
        worker = 0
        eventually(stood)
        return worker

    def slow(self) -> int:
        """A question that the worker at the doorway is at now."""
        number = self.asks("slow")
        eventually(lambda: (self.home / "at-it").exists() and (self.home / "at-it").read_text() != "")
        return number

    def go(self) -> None:
        (self.home / "go").touch()


@contextmanager
def opened(home: Path, modules: tuple[str, ...] = ("authcustom",), **environ: str) -> Iterator[Doorway]:
    listener = socket.socket(socket.AF_UNIX)
    grants, its_grants = passing.pair()
    way, its_way = passing.pair()
    end, its_end = passing.pair()
    with listener, grants, its_grants, way, its_way, end, its_end:
        listener.bind(str(home / "socket"))
        listener.listen()
        pid = os.fork()
        if pid == 0:
            try:
                for each in (grants, way, end):
                    each.close()
                log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 2)
                standing.ask_module = at_the_doorway
                questions.serve(listener, modules, {"HOME": str(home), "AUTHCUSTOM": f"{__name__}:slowly",
                                                    **environ}, lambda account: None, lambda account: "",
                                its_grants)
            finally:
                os._exit(1)
        its_grants.close()
        passing.send(grants, [channels.WAY], (its_way.fileno(),))
        passing.send(grants, [channels.LOGIN.pack(PID)], (its_end.fileno(),))
        its_way.close()
        its_end.close()
        found = Doorway(home, grants, way, end, pid)
        try:
            yield found
        finally:
            os.kill(pid, signal.SIGTERM)
            assert os.waitpid(pid, 0)[1] == 0


@pytest.fixture(autouse=True)
def _custom_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "STANDS", frozenset(("authcustom",)))


def test_who_stands_there_answers_by_itself(tmp_path: Path) -> None:
    """All logins of a quiet moment are one process's, also while the helper does nothing at all."""
    with opened(tmp_path) as door:
        worker = door.stands()
        os.kill(door.pid, signal.SIGSTOP)
        try:
            assert [door.worker_of(door.asks("bob")) for _ in range(5)] == [worker] * 5
            assert door.hears(door.asks("bob", "wrong")) == channels.REFUSED
            assert door.hears(door.asks("cannot")) == channels.TEMPORARY
        finally:
            os.kill(door.pid, signal.SIGCONT)
        assert (tmp_path / "log").read_text().count("the module cannot tell") == 1


def test_it_gives_a_client_that_came_with_the_question(tmp_path: Path) -> None:
    """To couriertcpd, which hears whose it is; of one that is refused nothing is left there."""
    with opened(tmp_path) as door:
        door.stands()
        client, theirs = socket.socketpair()
        with client, theirs:
            assert door.hears(door.asks_for(theirs, "bob", "wrong")) == channels.REFUSED
            assert passing.receive(door.way) is None
            number = door.asks_for(theirs, "bob")
            assert door.hears(number) == channels.BEGUN + b"\0bob@custom"
            found = passing.receive(door.way)
            assert found is not None and passing.receive(door.way) is None
            data, (fd,) = found
            pid, its, size = channels.GIVEN.unpack_from(data)
            rest = data[channels.GIVEN.size:]
            assert (pid, its, rest[size:]) == (PID, 100 + number, b"IMAPLOGINTAG=a")
            assert b"ADDRESS=bob@custom\n" in rest[:size]
            os.write(fd, b"from its session")
            os.close(fd)
            theirs.close()
            client.settimeout(DEADLINE)
            assert (client.recv(100), client.recv(100)) == (b"from its session", b"")
        assert passing.receive(door.grants) is None


class Watched(socket.socket):
    """``full``: is there no room, as the kernel says?"""

    full: threading.Event

    def sendmsg(self, *words: Any) -> int:
        try:
            return super().sendmsg(*words)
        except BlockingIOError:
            self.full.set()
            raise


@pytest.mark.parametrize("room", [True, False])
def test_a_client_waits_where_couriertcpd_has_many(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_BUFFER", 1)
    end, its_end = passing.pair()
    ours, other = passing.pair()
    way = Watched(fileno=other.detach())
    way.full = threading.Event()
    count = 0
    with end, its_end, ours, way:
        while not way.full.is_set():
            with suppress(BlockingIOError):
                passing.send(way, [b"another"])
                count += 1
        way.full.clear()

        def taken() -> Iterator[bytes]:
            for data, fds in passing.waiting(ours, "the way"):
                passing.close(fds)
                yield data

        def makes_room() -> None:
            way.full.wait(DEADLINE)
            found.extend(taken())

        found: list[bytes] = []
        if room:
            thread = threading.Thread(target=makes_room)
            thread.start()
        else:
            monkeypatch.setattr(tickets, "ROOM_SECONDS", 0.01)
        account = Account("bob", 1, 1, "/")
        tickets.give(way, tickets.Asker(PID, its_end), 7, b"account", account, 1, b"", end.fileno())
        if room:
            thread.join()
        found.extend(taken())
        assert found[:count] == [b"another"] * count
        assert found[count:] == [channels.GIVEN.pack(PID, 1, 7) + b"account"] * room
        answered = passing.receive(end)
        assert answered is not None
        assert channels.QUESTION.unpack_from(answered[0]) == (
            7, channels.BEGUN if room else channels.TEMPORARY)


def test_the_helper_itself_gives_a_ticket_for_it(tmp_path: Path) -> None:
    """And keeps nothing of the client."""
    with opened(tmp_path) as door:
        worker = door.stands()
        slow = door.slow()
        client, theirs = socket.socketpair()
        with client:
            assert door.worker_of(door.asks_for(theirs, "bob")) != worker
            theirs.close()
            client.settimeout(DEADLINE)
            assert client.recv(100) == b""
        assert passing.receive(door.way) is None
        door.go()
        assert door.worker_of(slow) == worker


def test_whom_it_does_not_know_gets_a_ticket_of_the_next_module(tmp_path: Path) -> None:
    (tmp_path / "userdb").write_text("ann\tuid=1|gid=1|home=/|clearpw=secret\n")
    (tmp_path / "userdb").chmod(0o600)
    with opened(tmp_path, ("authcustom", "authuserdb"), USERDB=str(tmp_path / "userdb")) as door:
        door.stands()
        client, theirs = socket.socketpair()
        with client, theirs:
            assert b"ADDRESS=ann\n" in door.hears(door.asks_for(theirs, "ann"))
            assert door.hears(door.asks_for(theirs, "nobody")) == channels.REFUSED


def test_one_that_takes_long_holds_up_nobody(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        worker = door.stands()
        slow = door.slow()
        others = {door.worker_of(door.asks("bob")) for _ in range(5)}
        assert worker not in others
        door.go()
        assert door.worker_of(slow) == worker
        assert door.stands() == worker


def test_one_that_does_not_come_to_what_it_was_woken_for(tmp_path: Path) -> None:
    """A question that lies there is the helper's in a moment, and has its time, as any of these."""
    with opened(tmp_path, AUTH_TIMEOUT="1") as door:
        worker = door.stands()
        os.kill(worker, signal.SIGSTOP)
        assert door.hears(door.asks("bob")) == channels.TEMPORARY
        assert door.stands() != worker


def test_one_that_hangs_is_ended_in_time_and_another_stands_there(tmp_path: Path) -> None:
    with opened(tmp_path, AUTH_TIMEOUT="1", AUTH_WORKERS="1") as door:
        worker = door.stands()
        slow = door.slow()
        waits = door.asks("bob")       # there is no other worker, and its time does not count yet
        assert door.hears(slow) == channels.TEMPORARY
        assert door.worker_of(waits) != worker
        assert door.stands() != worker
        said = (tmp_path / "log").read_text()
        assert said.count("authcustom: no answer in 1 seconds, user=slow") == 1
        assert said.count("authentication error") == 1


def test_one_that_dies_fails_what_it_was_at(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        worker = door.stands()
        assert door.hears(door.asks("dies")) == channels.TEMPORARY
        assert door.stands() != worker
        assert (tmp_path / "log").read_text().count("authcustom: a worker ended, user=dies") == 1


def test_one_that_dies_with_a_question_in_its_hands(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Just taken from the channel: nobody else can find it there."""
    monkeypatch.setattr(standing, "asked", lambda *words: os.kill(os.getpid(), signal.SIGKILL))
    with opened(tmp_path) as door:
        worker = door.worker_of(door.asks("bob"))              # a job of the helper's
        eventually(lambda: door.hears(door.asks("bob"))[:1] == channels.TEMPORARY)
        assert door.worker_of(door.asks("bob")) != worker


def test_whom_it_does_not_know_the_next_module_may(tmp_path: Path) -> None:
    (tmp_path / "userdb").write_text("ann\tuid=1|gid=1|home=/|clearpw=secret\n")
    (tmp_path / "userdb").chmod(0o600)
    with opened(tmp_path, ("authcustom", "authuserdb"), USERDB=str(tmp_path / "userdb")) as door:
        worker = door.stands()
        assert b"ADDRESS=ann\n" in door.hears(door.asks("ann"))
        assert door.hears(door.asks("ann", "wrong")) == channels.REFUSED
        assert door.hears(door.asks("nobody")) == channels.REFUSED
        assert door.stands() == worker


def test_it_passes_on_what_the_helper_does_itself(tmp_path: Path) -> None:
    with opened(tmp_path, OAUTH_KEYFILE=str(tmp_path / "absent")) as door:
        door.stands()
        begin = channels.pack({channels.SERVICE: "imap", channels.EXTERNAL: "",
                               channels.MECHANISM: "CRAM-MD5"})
        passing.send(door.end, [channels.QUESTION.pack(900, channels.BEGIN),
                                channels.BEGINS.pack(len(begin), 0, False), begin])
        assert door.hears(900) == channels.CHALLENGE
        passing.send(door.end, [channels.QUESTION.pack(901, channels.ASK),
                                render_request(Request("token", "imap", {}, user="bob", password="x"))])
        assert door.hears(901) == channels.TEMPORARY            # it has no keys
        for number, nonsense in enumerate((b"", b"AUTH x\n", b"AUTH 3\na\n", b"\xff\n"), 902):
            passing.send(door.end, [channels.QUESTION.pack(number, channels.ASK), nonsense])
            assert door.hears(number) == channels.REFUSED
        for kind in (channels.BEGIN, channels.ASK_FOR):          # shorter than its head
            passing.send(door.end, [channels.QUESTION.pack(950, kind), b"x"])
            assert door.hears(950) == channels.REFUSED
        door.stands()


def test_a_helper_that_is_to_end_waits_for_it(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        worker = door.stands()
        slow = door.slow()
        os.kill(door.pid, signal.SIGTERM)
        door.go()
        assert door.worker_of(slow) == worker


def test_one_that_is_at_something_is_not_ended_as_idle(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the other worker has had a question of the helper's all that time."""
    monkeypatch.setattr(helper, "IDLE", 0.0)
    with opened(tmp_path) as door:
        worker = door.stands()
        slow = door.slow()
        other = door.asks("slow")
        eventually(lambda: int((tmp_path / "at-it").read_text() or worker) != worker)
        door.worker_of(door.asks("bob"))        # the helper has looked after all since
        door.go()
        assert door.worker_of(slow) == worker
        assert door.worker_of(other) != worker
        assert door.stands() == worker


def test_no_worker_for_want_of_descriptors(tmp_path: Path) -> None:
    """That is a question's affair, which its time ends, and not the end of the helper."""
    with opened(tmp_path, AUTH_TIMEOUT="1") as door:
        assert door.hears(door.asks("dies")) == channels.TEMPORARY
        soft, hard = resource.prlimit(door.pid, resource.RLIMIT_NOFILE)
        its = {int(name) for name in os.listdir(f"/proc/{door.pid}/fd")}
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (min(set(range(1000)) - its), hard))
        assert door.hears(door.asks("bob")) == channels.TEMPORARY
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (soft, hard))
        door.stands()
        said = (tmp_path / "log").read_text()
        assert "no worker for authcustom can be started: Too many open files" in said


def test_a_question_waits_for_it_where_no_other_worker_can_be_had(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    forks = iter(("the worker at the doorway",))

    def once(main: Callable[[], int], death: int = signal.SIGTERM) -> int:
        if next(forks, None) is None:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork(main, death)
    fork = proc.fork
    monkeypatch.setattr(proc, "fork", once)
    with opened(tmp_path) as door:
        worker = door.stands()
        slow = door.slow()
        other = door.asks("bob")
        eventually(lambda: "can be started" in (tmp_path / "log").read_text())
        door.go()
        assert door.worker_of(slow) == door.worker_of(other) == worker
        assert "authentication error" not in (tmp_path / "log").read_text()


# -- of a login process that somebody has taken over

def begins(door: Doorway, number: int, mechanism: str, initial: bytes | None = None, **said: str) -> bytes:
    """The kind of the answer to an exchange that begins; of a ticket the account."""
    head = channels.pack({channels.SERVICE: "imap", channels.EXTERNAL: "", channels.MECHANISM: mechanism,
                          **said})
    passing.send(door.end, [channels.QUESTION.pack(number, channels.BEGIN),
                            channels.BEGINS.pack(len(head), 0, initial is not None), head, initial or b""])
    return door.hears(number)


def with_userdb(folder: Path) -> str:
    path = folder / "userdb"
    path.write_text("ann\tuid=1|gid=1|home=/|imappw={MD5RAW}5ebe2294ecd0e0f08eab7690d2a6ee69|clearpw=secret|"
                    "supw={MD5RAW}098f6bcd4621d373cade4e832627b4f6\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("said", [{"TCPREMOTEIP": "192.0.2.1\nPRE . imap ann"},
                                  {"TCPREMOTEPORT": "7\nPRE . imap ann"},
                                  {"service": "imap\nlogin\nann\nsecret\n"}])
def test_no_line_of_its_own_comes_between_those_of_a_question(tmp_path: Path, said: dict[str, str]) -> None:
    with opened(tmp_path, ("authuserdb",), USERDB=with_userdb(tmp_path)) as door:
        assert begins(door, 900, "PLAIN", b"\0ann\0wrong", **said) == channels.REFUSED
        assert b"ADDRESS=ann\n" in begins(door, 901, "PLAIN", b"\0ann\0secret")


def test_it_asks_for_no_service_but_those_that_there_are(tmp_path: Path) -> None:
    """PAM lets root in without a password at some, and it is root that asks."""
    with opened(tmp_path, ("authuserdb",), USERDB=with_userdb(tmp_path)) as door:
        for number, service in enumerate(("su", "", "lmtp"), 900):
            asked = render_request(Request("login", service, {}, user="ann", password="test"))
            passing.send(door.end, [channels.QUESTION.pack(number, channels.ASK), asked])
            assert door.hears(number) == channels.REFUSED
            assert begins(door, number, "PLAIN", b"\0ann\0test", service=service) == channels.REFUSED
        assert b"ADDRESS=ann\n" in begins(door, 910, "PLAIN", b"\0ann\0secret", service="pop3")


def test_nor_does_it_of_the_worker_at_the_doorway(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        door.stands()
        os.kill(door.pid, signal.SIGSTOP)
        try:
            asked = render_request(Request("login", "su", {}, user="bob", password="secret"))
            passing.send(door.end, [channels.QUESTION.pack(900, channels.ASK), asked])
            assert door.hears(900) == channels.REFUSED
        finally:
            os.kill(door.pid, signal.SIGCONT)


def test_exchanges_that_nobody_ends_keep_others_out_for_a_while(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "EXCHANGES", 2)
    with opened(tmp_path) as door:
        found = [begins(door, number, "LOGIN") for number in range(900, 903)]
        assert found == [channels.CHALLENGE, channels.CHALLENGE, channels.TEMPORARY]
        passing.send(door.end, [channels.QUESTION.pack(900, channels.GIVE_UP)])
        assert begins(door, 903, "LOGIN") == channels.CHALLENGE
        assert (tmp_path / "log").read_text().count("may begin no other") == 1


def test_their_time_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "EXCHANGES", 2)
    monkeypatch.setattr(questions, "EXCHANGE_SECONDS", -1.0)
    with opened(tmp_path) as door:
        assert {begins(door, number, "LOGIN") for number in range(900, 906)} == {channels.CHALLENGE}


def test_who_answers_a_challenge_that_there_was_not(tmp_path: Path) -> None:
    """While the module is asked.  Nor is half a question the end of the helper."""
    with opened(tmp_path) as door:
        assert begins(door, 900, "PLAIN") == channels.CHALLENGE
        passing.send(door.end, [channels.QUESTION.pack(900, channels.GO_ON), b"\0slow\0secret"])
        eventually(lambda: (tmp_path / "at-it").exists())
        passing.send(door.end, [channels.QUESTION.pack(900, channels.GO_ON), b"\0bob\0secret"])
        passing.send(door.end, [channels.QUESTION.pack(901, channels.BEGIN), b"half"])
        assert door.hears(901) == channels.REFUSED
        door.go()
        assert b"ADDRESS=slow@custom\n" in door.hears(900)


def test_one_that_ends_while_the_module_is_asked(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        assert begins(door, 900, "PLAIN") == channels.CHALLENGE
        passing.send(door.end, [channels.QUESTION.pack(900, channels.GO_ON), b"\0slow\0secret"])
        eventually(lambda: (tmp_path / "at-it").exists())
        before = len(os.listdir(f"/proc/{door.pid}/fd"))
        door.end.close()
        eventually(lambda: len(os.listdir(f"/proc/{door.pid}/fd")) < before)
        door.go()


def test_an_exchange_that_nobody_can_decide_is_one_line_of_the_log_that_says_whose(tmp_path: Path) -> None:
    with opened(tmp_path, TLS_EXTERNAL="CN", EXTERNAL_MAP=str(tmp_path / "absent")) as door:
        client = {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7"}
        assert begins(door, 900, "PLAIN", b"\0cannot\0secret", **client) == channels.TEMPORARY
        assert begins(door, 901, "EXTERNAL", b"", external="bob", **client) == channels.TEMPORARY
        said = [line for line in (tmp_path / "log").read_text().splitlines() if "cation error" in line]
        assert ["cannot tell, user=cannot, ip=[192.0.2.1], port=[7]" in said[0],
                "user=bob, ip=[192.0.2.1], port=[7]" in said[1], len(said)] == [True, True, 2]
