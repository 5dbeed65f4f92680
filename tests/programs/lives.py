"""A program beside the tests: processes of sessions as couriertcpd makes them, and what each session finds.

``python -m tests.programs.lives FOLDER`` prints a JSON object: what each of some sessions found in its
process, as flat tables, and what became of processes.  FOLDER has the homes "one" and "other".
"""
from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import types
from array import array
from collections.abc import Callable
from typing import Any

from courierpy import imapd, preload, rehearsal, sessions
from courierpy.imap.session import Session
from courierpy.maildir import lockqueue, trash
from courierpy.model import messages
from courierpy.system import concluded, inotify, memory, passing, proc, seldom
from courierpy.system.channels import DONE, SOON, Order
from tests.conftest import account_ids

# what one client says, which is not to be the process's for the next
MUCH = b"".join(b"%d %s\r\n" % item for item in enumerate([
    b"ENABLE CONDSTORE QRESYNC UTF8=ACCEPT", b"SELECT INBOX",
    b"FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[] INTERNALDATE)", b'COMPARATOR "i;octet"',
    b"UID SEARCH RETURN (SAVE COUNT) TEXT engine", b"UID SORT (SUBJECT) UTF-8 ALL",
    b"UID THREAD REFERENCES UTF-8 ALL", b"STORE 1 +FLAGS (\\Flagged word)", b"CREATE INBOX.of-one",
    b"COPY 1:2 INBOX.of-one", b"SUBSCRIBE INBOX.of-one", b'LIST "" *',
    b"STATUS INBOX.of-one (MESSAGES UIDNEXT)",
    b"NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))",
    b"NONSENSE", b"IDLE\r\nDONE", b"APPEND INBOX {5+}\r\nx: y\n", b"SELECT INBOX.none", b"EXPUNGE",
    b"SELECT INBOX.of-one", b"CLOSE", b"LOGOUT"]))
LITTLE = b"a LOGOUT\r\n"
BUSY = b"* BYE busy\r\n"
ENVIRON = {"IMAP_KEYWORDS": "1", "IMAP_UMASK": "077", "IMAP_ULIMITD": "400000"}
USUAL = sessions.Manner(100, 0, BUSY)
SECONDS = 60.0                 # for which nothing is waited longer
OTHER = ""
DEEP = 6
PLAIN = (int, float, str, bytes, bool, type(None))


def table(value: object, name: str, found: dict[str, str], seen: dict[int, str],
          depth: int = 0) -> None:
    """Of a value and all that it holds: path -> what is there."""
    if isinstance(value, PLAIN):
        found[name] = repr(value)
        return
    if depth > DEEP or isinstance(value, (types.ModuleType, types.FunctionType)):
        return
    if id(value) in seen:
        found[name] = f"the same as {seen[id(value)]}"
        return
    seen[id(value)] = name
    if isinstance(value, (list, tuple, array)):
        found[f"{name}.length"] = str(len(value))
        for at, each in enumerate(value[:50]):
            table(each, f"{name}[{at}]", found, seen, depth + 1)
    elif isinstance(value, (set, frozenset)):
        found[name] = str(sorted(map(repr, value))) if all(isinstance(each, PLAIN) for each in value) \
            else str(len(value))
    elif isinstance(value, dict):
        plain = all(isinstance(key, PLAIN) for key in value)
        found[f"{name}.keys"] = str(sorted(map(repr, value))) if plain else str(len(value))
        for key, each in value.items():
            table(each, f"{name}[{key!r}]" if isinstance(key, PLAIN) else name, found, seen, depth + 1)
    elif isinstance(value, type):
        if value.__module__.startswith("courierpy"):
            for key, each in vars(value).items():
                if not key.startswith("__"):
                    table(each, f"{name}.{key}", found, seen, depth + 1)
    elif type(value).__module__.startswith("courierpy"):
        slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
        for key in sorted({*slots, *getattr(value, "__dict__", {})}):
            if hasattr(value, key):
                table(getattr(value, key), f"{name}.{key}", found, seen, depth + 1)


def process() -> dict[str, str]:
    """What the kernel and the interpreter have of this process."""
    found = {"cwd": os.getcwd(), "environ": str(sorted(os.environ.items())),
             "groups": str(os.getgroups()), "ids": str((os.getresuid(), os.getresgid())),
             "timers": str([signal.getitimer(which) for which in (0, 1, 2)]),
             "wakeup": str(signal.set_wakeup_fd(-1)),
             "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "death": str(proc._death()),
             "path": str(sys.path), "modules": str(sorted(sys.modules))}
    umask = os.umask(0)
    os.umask(umask)
    found["umask"] = oct(umask)
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            found[name] = str(resource.getrlimit(getattr(resource, name)))
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        found[f"signal {number}"] = getattr(handler, "__qualname__", str(handler))
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = os.readlink(f"/proc/self/fd/{name}").partition(":")[0].replace(str(os.getpid()), "PID")
        except FileNotFoundError:
            continue
        found[f"descriptor {name}"] = f"{kind} {os.get_inheritable(int(name))}"
    return found


def everything(daemon: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    seen: dict[int, str] = {}
    table(daemon, "daemon", found, seen)
    for name, module in sorted(sys.modules.items()):
        if name.startswith("courierpy"):
            for key, value in sorted(vars(module).items()):
                if not key.startswith("__"):
                    table(value, f"{name}.{key}", found, seen)
    return {**found, **process()}


def soil() -> None:
    """What a session may leave behind that meets what these tests cannot have at any time."""
    assert seldom.due("something")
    lockqueue._doubts["tmp"] = (3, 1.0)
    trash._told.add(b"cur")
    messages._expanded(array("I", (1, 4)), 10)
    inotify.lend(inotify.Inotify)


def order(home: str, script: bytes) -> Order:
    uid, gid = account_ids()
    account = f"UID={uid}\nGID={gid}\nHOME={home}\nADDRESS={os.path.basename(home)}\n.\n".encode()
    return Order(account, b"TCPREMOTEIP=192.0.2.1\0TCPREMOTEPORT=4711", b"IMAPLOGINTAG=a0", script)


class Life:
    """A process of sessions.  ``hook``: what its first session does when it has begun."""

    def __init__(self, manner: sessions.Manner, hook: Callable[[], object] = lambda: None) -> None:
        self.link, theirs = passing.pair()
        self._result = os.memfd_create("found", 0)
        whole = imapd._Imapd._sleeps
        begun: list[None] = []

        def sleeps(daemon: Any, session: Session) -> None:
            begun.append(None)
            whole(daemon, session)     # the last that asks what the settings say
            with os.fdopen(os.dup(self._result), "a") as file:
                print(json.dumps(everything(daemon)), file=file)
            if len(begun) == 1:
                hook()

        def child() -> int:
            imapd._Imapd._sleeps = sleeps
            return sessions.serve(theirs, None, -1, 0, [self._result], ["imapd", "Maildir"],
                                  concluded.Common(ENVIRON), manner)

        self.pid = proc.fork(child)
        theirs.close()
        self.link.settimeout(SECONDS)

    def give(self, each: Order) -> socket.socket:
        """The client's end.  OSError where nothing can be given any more."""
        ours, client = socket.socketpair()
        with client:
            passing.send(self.link, each.parts(), (client.fileno(),))
        ours.settimeout(SECONDS)
        return ours

    def session(self, each: Order) -> bytes:
        """All that its client hears."""
        said = b""
        with self.give(each) as ours:
            while piece := ours.recv(65536):
                said += piece
        return said

    def waits(self) -> bool:
        """Does it wait for another one?"""
        return self.link.recv(10) in (DONE, SOON)

    def end(self) -> list[dict[str, str]]:
        """What each of its sessions found."""
        self.link.close()
        assert os.waitpid(self.pid, 0)[1] == 0
        with os.fdopen(self._result) as file:
            file.seek(0)
            return [json.loads(line) for line in file]


def found(*orders: Order, hook: Callable[[], object] = lambda: None) -> list[dict[str, str]]:
    """What each of these sessions finds, in one process."""
    life = Life(USUAL, hook)
    for each in orders:
        said = life.session(each)
        assert said.startswith(b"a0 OK") and b" BYE " in said and b"SERVERBUG" not in said, said
        assert life.waits()
    return life.end()


def goes_on(hook: Callable[[], object], script: bytes = LITTLE) -> bool:
    """Does a process wait for another session after one that did this?"""
    life = Life(USUAL, hook)
    assert life.session(order(OTHER, script)).startswith(b"a0 OK")
    goes = life.waits()
    life.end()
    return goes


def breaks() -> None:
    def capabilities(session: Session) -> list[bytes]:
        raise RuntimeError("a bug")
    Session.capabilities = capabilities  # type: ignore[method-assign]


def limits() -> None:
    with memory.reserve():
        pass


def grows() -> None:
    held.append(b"x" * (sessions.GROWTH_OCTETS + (8 << 20)))


held: list[bytes] = []


def forks() -> None:
    def child() -> int:
        os.closerange(0, 100)
        signal.pause()
        return 0
    proc.fork(child)


def uses() -> list[str]:
    """What becomes of each of three sessions in a process for two."""
    life = Life(sessions.Manner(2, 0, BUSY))
    words = []
    for _ in range(3):
        try:
            life.session(order(OTHER, LITTLE))
        except OSError:
            words.append("nobody takes it")
            break
        words.append("waits" if life.waits() else "ends")
    life.end()
    return words


def idle() -> str:
    """What one says that is not given another session in time."""
    life = Life(sessions.Manner(100, 1, BUSY))
    life.session(order(OTHER, LITTLE))
    assert life.waits()
    said = life.link.recv(10).decode()
    life.end()
    return said


def others() -> list[str]:
    """What is said of the second session, whose ids are others than the first one's, by its process, which
    gives it back and ends."""
    words = []
    for line in (b"GID=4711\n", b"UID=4711\n", b"USERNAME=root\n"):
        life = Life(USUAL)
        first = order(OTHER, LITTLE)
        life.session(first)
        assert life.waits()
        account = line + first.account
        with life.give(Order(account, first.known, first.said, first.rest)):
            message, fds = next(passing.orders(life.link))
            words.append(f"{message.decode()} with {len(fds)}")
            passing.close(fds)
        life.end()
    return words


def told() -> str:
    """What a client hears that is given to a process which was told to end a moment before."""
    life = Life(USUAL)
    life.session(order(OTHER, LITTLE))
    assert life.waits()
    os.kill(life.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, life.pid, os.WSTOPPED)
    client = life.give(order(OTHER, LITTLE))
    os.kill(life.pid, signal.SIGTERM)
    os.kill(life.pid, signal.SIGCONT)
    with client:
        said = client.recv(1000).decode()
    life.end()
    return said


NUMBERS = re.compile(rb"(UIDVALIDITY|MAILBOXID|HIGHESTMODSEQ) [^]]+")    # of a moment, or of an inode
LOOKS = b"".join(b"%d %s\r\n" % item for item in enumerate([
    b'LIST "" *', b'LSUB "" *', b"GETQUOTAROOT INBOX", b"MYRIGHTS INBOX", b"STATUS INBOX (MESSAGES UNSEEN)",
    b"STATUS INBOX.Sub (MESSAGES UNSEEN)", b"SELECT INBOX", b"FETCH 1:* (UID FLAGS BODY.PEEK[])",
    b"SELECT INBOX.Sub", b"LOGOUT"]))


def _mailbox(path: str, subject: str) -> None:
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part))
    with open(os.path.join(path, "cur", "1.a.host:2,"), "w", encoding="ascii") as file:
        file.write(f"Subject: {subject}\n\ntext\n")


def _replaced(maildir: str) -> None:
    os.rename(maildir, maildir + ".old")
    _mailbox(maildir, "new")
    _mailbox(os.path.join(maildir, ".New"), "new")


def _linked(maildir: str) -> None:
    _replaced(maildir)
    os.rename(maildir, maildir + ".new")
    os.symlink("Maildir.new", maildir)


def _says(name: str, text: str) -> Callable[[str], None]:
    def write(maildir: str) -> None:
        with open(os.path.join(maildir, name), "w", encoding="ascii") as file:
            file.write(text)
    return write


CHANGES: dict[str, Callable[[str], None]] = {
    "none": lambda maildir: None, "replaced": _replaced, "a link": _linked,
    "a list": _says("courierimapacl", "owner lr\n"),
    "subscribed": _says("courierimapsubscribed", "INBOX.Sub\n"),
    "a quota": _says("maildirsize", "9000S\n0 0\n"),
    "a mailbox": lambda maildir: os.rename(os.path.join(maildir, ".Sub"), os.path.join(maildir, ".New"))}


def changed(folder: str) -> dict[str, list[str]]:
    """What a session is told after this change of its Maildir: in the process that had it before, and in one
    of its own, which has a copy."""
    told: dict[str, list[str]] = {}
    uid, gid = account_ids()
    for name, change in CHANGES.items():
        homes = [os.path.join(folder, "changed", name, which, "who") for which in ("same", "fresh")]
        maildir = os.path.join(homes[0], "Maildir")
        _mailbox(maildir, "inbox")
        _mailbox(os.path.join(maildir, ".Sub"), "sub")
        life, fresh = Life(USUAL), Life(USUAL)
        owned = ["chown", "-R", f"{uid}:{gid}", homes[0]]
        subprocess.run(owned, check=True)
        life.session(order(homes[0], LOOKS))
        assert life.waits()
        change(maildir)
        subprocess.run(owned, check=True)
        os.makedirs(os.path.dirname(homes[1]))
        subprocess.run(["cp", "-a", homes[0], homes[1]], check=True)
        said = [each.session(order(home, LOOKS)) for each, home in zip((life, fresh), homes, strict=True)]
        told[name] = [NUMBERS.sub(rb"\1", each).decode() for each in said]
        for each in (life, fresh):
            each.end()
    return told


def main(folder: str) -> dict[str, object]:
    """Name -> what came out."""
    global OTHER
    one, OTHER = (os.path.join(folder, name) for name in ("one", "other"))
    preload.preload(True)
    rehearsal.rehearse(ENVIRON, True)
    preload.freeze(ENVIRON, "IMAP")    # or what is left of it closes numbers that other descriptors have then
    much, little = order(one, MUCH), order(OTHER, LITTLE)
    hooks: dict[str, Callable[[], object]] = {
        "usual": lambda: None, "no memory": limits, "a descriptor": lambda: os.dup(2), "memory": grows,
        "a child": forks, "a timer": lambda: signal.setitimer(signal.ITIMER_REAL, 1000),
        "a signal": lambda: os.kill(os.getpid(), signal.SIGUSR1)}
    return {"first": found(little), "after": found(much, little, hook=soil),
            "again": found(little, little, little),
            "goes on": {"a bug": goes_on(breaks, b"a CAPABILITY\r\nb LOGOUT\r\n"),
                        **{name: goes_on(hook) for name, hook in hooks.items()}},
            "changed": changed(folder), "uses": uses(), "idle": idle(), "others": others(), "told": told()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
