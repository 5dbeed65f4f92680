"""The servers side by side, and equal mail for each of them."""
from __future__ import annotations

import glob
import os
import shutil
import socket
import sys
import tempfile
import time

from bench import corpus, peers
from bench.client import Client, Refused
from bench.peers import Before, Courier, Courierpy, Dovecot, Missing, Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OLD = 2.5                          # seconds after which a change counts as old for every server
PATIENCE = 1800.0                  # seconds to wait for another run to end
IDLE_ACCOUNTS = 20
TURNS = 40                         # accounts of one uid that come by turns


class Scale:
    """How much mail, and how often."""

    def __init__(self, messages: int = 10_000, big: int = 100_000, many: int = 200, of_each: int = 50,
                 synced: int = 300, range_: int = 1_000, sessions: int = 160,
                 idle: tuple[int, int] = (50, 200), seconds: float = 3.0, small: bool = False,
                 mark: str = "", crowds: tuple[int, int] = (10, 20), crowded: int = 200,
                 crowd_seconds: float = 8.0,
                 large: tuple[int, int] = (30, 200), secure: int = 1_000, told: int = 300,
                 heard: int = 500) -> None:
        self.messages = messages
        self.big = big
        self.many = many                       # folders for STATUS and LIST
        self.of_each = of_each                 # messages in each of them
        self.of_few = min(of_each, 20)         # and in each of as many small ones
        self.heard = heard                     # folders for NOTIFY
        self.synced = synced                   # messages in each of ten folders
        self.range = range_                    # messages of one STORE, COPY, ...
        self.sessions = sessions
        self.idle = idle
        self.crowds = crowds                   # clients in one INBOX at the same time
        self.crowded = crowded                 # messages in it
        self.crowd_seconds = crowd_seconds     # for which they are there
        self.seconds = seconds                 # after which a loop of single commands ends early
        self.small = small                     # short texts in "mail" too
        self.large = large                     # megabytes of a message: in pieces, and for its memory
        self.secure = secure                   # TLS connections that idle, for their memory
        self.told = told                       # and that are told of a delivery
        self.mark = mark                       # tells the accounts of one scale from another's

    def corpora(self, account: str) -> dict[str, tuple[str, int]]:
        """folder -> (which corpus, how many messages) of one account; "" is INBOX."""
        size = "small" if self.small else "mail"
        tables: dict[str, dict[str, tuple[str, int]]] = {
            "tiny": {"": ("small", 20)},
            "mail": {"": (size, self.messages)},
            "squeezed": {"": (size, self.messages)},
            "work": {"": (size, self.messages), **dict.fromkeys(("Copies", "Moved", "In"), ("small", 0))},
            "big": {"": ("links" if self.big > 200_000 else "small", self.big)},
            "many": {f"F{number:03d}": ("small", self.of_each) for number in range(self.many)},
            "lean": {f"F{number:03d}": ("small", self.of_few) for number in range(self.many)},
            "heard": {f"F{number:03d}": ("small", self.of_few) for number in range(self.heard)},
            "crowd": {"": ("small", self.crowded)},
            "sync": {f"S{number}": ("mail", self.synced) for number in range(10)},
        }
        return tables["tiny" if account.startswith(("idle", "turn")) else account]


FULL = Scale()
QUICK = Scale(messages=200, big=500, many=10, of_each=5, synced=20, range_=50, sessions=20, idle=(3, 6),
              seconds=0.5, crowds=(3, 6), crowded=40, crowd_seconds=1.0, large=(1, 2), secure=6, told=4,
              heard=10)
SINGLE = ("tiny", "mail", "squeezed", "work", "big", "many", "lean", "heard", "crowd", "sync")
ACCOUNTS = [*SINGLE, *(f"idle{number}" for number in range(IDLE_ACCOUNTS)),
            *(f"turn{number}" for number in range(TURNS))]


class Lab:
    """A temporary folder with the corpora, the servers and their accounts.  A context manager."""

    def __init__(self, wanted: list[str], source: str, marks: list[str] | None = None,
                 where: str | None = None, alone: bool = True, before: str | None = None) -> None:
        self.alone = alone
        self.turn = socket.socket(socket.AF_UNIX)
        names = peers.accounts(account + mark for mark in marks or [""] for account in ACCOUNTS)
        self.folder = tempfile.mkdtemp(prefix="courierpy-bench-", dir=where)
        self.missing: dict[str, str] = {}
        self.servers: list[Server] = []
        self.failed: dict[tuple[int, str], str] = {}
        self.ended: dict[tuple[int, str], int] = {}        # sessions, by row and server that ended them
        self.notes: dict[tuple[str, str], dict[str, object]] = {}
        self.made: set[tuple[str, str]] = set()
        self.owner = None if os.getuid() else names["tiny" + (marks or [""])[0]]
        self.load = round(os.getloadavg()[0])          # what else is going on
        os.chmod(self.folder, 0o755)
        kinds: list[Server] = [Courierpy(self.folder, names, source), Courier(self.folder, names),
                               Dovecot(self.folder, names)]
        self.candidates = [server for server in kinds if server.name in wanted]
        if before:
            self.candidates.insert(1, Before(self.folder, names, before))

    def __enter__(self) -> Lab:
        if self.alone:
            self._wait_for_others()
        try:
            for server in self.candidates:
                os.makedirs(server.folder, 0o755)
                try:
                    server.check()
                    server.prepare()
                    self.servers.append(server)
                    server.start()
                except Missing as why:
                    if server.name == "courierpy":
                        raise
                    self.missing[server.name] = str(why)
                    server.stop()
                    self.servers = [other for other in self.servers if other is not server]
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_others(self) -> None:
        """Two runs at once would measure each other.  The name is free again when its process ends."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.turn.bind("\0courierpy-bench")
                return
            except OSError:
                if time.monotonic() > end:
                    print("another run is still going on; both will be disturbed", file=sys.stderr)
                    return
                time.sleep(1)

    def __exit__(self, *_: object) -> None:
        self.turn.close()
        try:
            for server in self.servers:
                server.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- mail

    def corpus(self, kind: str, count: int) -> str:
        """A directory with the messages, made once."""
        path = os.path.join(self.folder, f"corpus-{kind}-{count}")
        if not os.path.exists(path):
            corpus.write(path, count, kind != "mail", self.owner)
        return path

    def account(self, server: Server, scale: Scale, account: str) -> str:
        """The account's full name; its Maildir is filled at the first call."""
        full = account + scale.mark
        if (server.name, full) not in self.made:
            self._fill(server, scale, account)
            self.made.add((server.name, full))
        return full

    def forget_mail(self, server: Server, scale: Scale) -> None:
        """Remove the Maildirs of one scale: a million files are many."""
        for name, full in sorted(self.made):
            if name == server.name and full.endswith(scale.mark):
                shutil.rmtree(server.maildir(full))
                self.made.remove((name, full))

    def _fill(self, server: Server, scale: Scale, account: str) -> None:
        maildir = server.maildir(account + scale.mark)
        owner = server.owner(account + scale.mark)
        corpus.make_folder(maildir, owner)
        for folder, (kind, count) in scale.corpora(account).items():
            path = os.path.join(maildir, "." + folder) if folder else maildir
            if folder:
                corpus.make_folder(path, owner)
                with open(os.path.join(path, "maildirfolder"), "w"):
                    pass
                corpus.give(os.path.join(path, "maildirfolder"), owner)
            cur = os.path.join(path, "cur")
            if not count:
                continue
            if kind == "links":
                corpus.link_many(self.corpus("small", 100), cur, count)
            elif owner == self.owner:
                corpus.link(self.corpus(kind, count), cur)
            else:
                for name in os.listdir(self.corpus(kind, count)):
                    shutil.copy2(os.path.join(self.corpus(kind, count), name), cur)
                    corpus.give(os.path.join(cur, name), owner)


class At:
    """One server with one scale: what a row is measured on."""

    def __init__(self, lab: Lab, server: Server, scale: Scale) -> None:
        self.lab = lab
        self.server = server
        self.scale = scale

    def account(self, account: str) -> str:
        return self.lab.account(self.server, self.scale, account)

    def maildir(self, account: str) -> str:
        return self.server.maildir(self.account(account))

    def login(self, account: str) -> Client:
        return self.server.login(self.account(account))

    def opened(self, account: str, folder: str = "") -> Client:
        """Logged in, the folder selected."""
        client = self.login(account)
        client.do(b"SELECT " + self.folder(folder))
        return client

    def folder(self, folder: str) -> bytes:
        """The name on the wire."""
        return self.server.prefix + folder.encode() if folder else b"INBOX"

    def note(self, row: str, value: object) -> None:
        """What a server answered: the report tells where they differ."""
        self.lab.notes.setdefault((row, self.scale.mark), {})[self.server.name] = value

    def ended(self, row: int, sessions: int) -> None:
        """So many were ended by the server itself: of another one's the report tells it, ours ends none."""
        if sessions and isinstance(self.server, Courierpy):
            raise ValueError(f"row {row}: {sessions} sessions ended")
        if sessions:
            key = row, self.server.name
            self.lab.ended[key] = self.lab.ended.get(key, 0) + sessions

    # -- the state on disk

    def folders(self, account: str) -> Iterator[str]:
        maildir = self.maildir(account)
        yield maildir
        yield from (entry.path for entry in os.scandir(maildir)
                    if entry.name.startswith(".") and entry.is_dir())

    def forget(self, account: str) -> None:
        """Cold: no index, no cache, no UIDs.  What the kernel has cached stays."""
        for folder in self.folders(account):
            for pattern in self.server.derived:
                for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
                    if os.path.isdir(path):
                        shutil.rmtree(path)
                    else:
                        os.unlink(path)

    def settle(self, account: str) -> None:
        """Until the last change of a folder is old: servers trust a directory's time only then."""
        newest = max(os.stat(os.path.join(folder, part)).st_mtime
                     for folder in self.folders(account) for part in ("cur", "new"))
        time.sleep(max(0.0, newest + OLD - time.time()))

    def deliver(self, account: str, number: int) -> None:
        """One message, as a delivery agent leaves it."""
        maildir = self.maildir(account)
        data = (b"From: Ann <ann@example.org>\nTo: bench@example.net\nSubject: delivery %d\n"
                b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <d%d@example.org>\n\nHello.\n"
                % (number, number))
        name = f"{int(time.time())}.M{number:06d}P1_0.mail,S={len(data)}"
        before = os.path.join(maildir, "tmp", name)
        with open(before, "xb") as file:
            file.write(data)
        corpus.give(before, self.server.owner(self.account(account)))
        os.rename(before, os.path.join(maildir, "new", name))


__all__ = ["ACCOUNTS", "At", "FULL", "Lab", "QUICK", "Refused", "Scale"]
