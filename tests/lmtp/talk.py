"""A client of lmtpd, which a nursery gives birth to: what it says, what it is answered."""
from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import account_ids, plain_environ
from tests.faults.nursery import Nursery

DEADLINE = 30.0


class Post:
    """Accounts in a userdb, each with a Maildir, and lmtpd for them."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        folder.chmod(0o755)
        self.nursery = nursery
        self.folder = folder
        self.userdb = folder / "userdb"
        self.log = folder / "log"
        self.log.touch()
        self.settings = {"USERDB": str(self.userdb), "AUTHMODULES": "authuserdb", "IMAP_LOG": "courier",
                         "HOSTNAME": "mx.example.net", "TMPDIR": str(folder)}
        self.rows: dict[str, str] = {}
        for user in ("ann", "bob", "carol@example.org"):
            self.account(user)

    def account(self, user: str, fields: str = "", *boxes: str) -> Path:
        """Gives its Maildir, in which there are ``boxes`` beside INBOX."""
        uid, gid = account_ids()
        home = self.folder / user
        maildir = home / "Maildir"
        for box in ("", *boxes):
            for part in ("cur", "new", "tmp"):
                (maildir / box / part).mkdir(parents=True)
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, gid)
        self.rows[user] = fields or f"uid={uid}|gid={gid}|home={home}"
        self.write()
        return maildir

    def write(self) -> None:
        self.userdb.write_text("".join(f"{user}\t{fields}\n" for user, fields in self.rows.items()))
        self.userdb.chmod(0o600)

    def client(self, *words: str, journal: str = "", plan: dict[str, object] | None = None,
               **settings: str) -> Client:
        ours, theirs = socket.socketpair()
        return self.over(ours, theirs, *words, journal=journal, plan=plan, **settings)

    def over(self, ours: socket.socket, theirs: socket.socket, *words: str, journal: str = "",
             plan: dict[str, object] | None = None, **settings: str) -> Client:
        """lmtpd at the other end of a connection."""
        return Client(ours, self.birth("lmtpd", theirs, *words, journal=journal, plan=plan, **settings))

    def birth(self, program: str, theirs: socket.socket, *words: str, journal: str = "",
              plan: dict[str, object] | None = None, **settings: str) -> int:
        """The pid of a program at the end of a connection."""
        with theirs, self.log.open("ab") as log:
            return self.nursery.birth(
                {"program": program, "words": list(words), "journal": journal,
                 "maildir": str(self.folder / "ann" / "Maildir"), "plan": plan or {},
                 "environ": plain_environ(**self.settings, **settings)},
                [theirs.fileno(), theirs.fileno(), log.fileno()])

    def mail(self, user: str, box: str = "") -> list[bytes]:
        """What came to new/, in order."""
        new = self.folder / user / "Maildir" / box / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())]

    def left(self, user: str) -> list[str]:
        """Names in tmp/."""
        return sorted(path.name for path in (self.folder / user / "Maildir" / "tmp").iterdir())


@contextmanager
def posted(nursery: Nursery) -> Iterator[Post]:
    """In a folder of its own: not pytest's, as the account must be able to enter it."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None        # where there is such a place
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-", dir=memory))
    yield Post(nursery, folder)
    shutil.rmtree(folder)


class Client:
    def __init__(self, end: socket.socket, pid: int) -> None:
        self.end = end
        self.pid = pid
        self.end.settimeout(DEADLINE)
        self.buffer = b""

    def __enter__(self) -> Client:
        assert self.reply().startswith("220 ")
        return self

    def __exit__(self, *error: object) -> None:
        self.end.close()

    def send(self, data: bytes) -> None:
        self.end.sendall(data)

    def line(self) -> str:
        """"" at the end."""
        while b"\n" not in self.buffer:
            data = self.end.recv(65536)
            if not data:
                assert not self.buffer, self.buffer
                return ""
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        assert line.endswith(b"\r"), line
        return line[:-1].decode("ascii")

    def reply(self) -> str:
        """The last line of a reply."""
        while (line := self.line())[3:4] == "-":
            continue
        return line

    def replies(self, count: int) -> list[str]:
        """Code and status of each."""
        return [" ".join(self.reply().split()[:2]) for _ in range(count)]

    def say(self, *lines: bytes) -> list[str]:
        """Commands in one piece; code and status of each reply."""
        self.send(b"".join(line + b"\r\n" for line in lines))
        return self.replies(len(lines))

    def hello(self, *recipients: bytes, sender: bytes = b"<sender@example.com>") -> None:
        """Up to what comes before DATA; all is as it should be."""
        lines = [b"MAIL FROM:" + sender, *(b"RCPT TO:" + address for address in recipients)]
        assert all(reply.startswith("250 ") for reply in self.say(b"LHLO client.example", *lines))

    def data(self, text: bytes, count: int = 1) -> list[str]:
        """A message, with its dots; the reply of each recipient."""
        assert self.say(b"DATA") == ["354 The"]
        self.send(text + b".\r\n")
        return self.replies(count)

    def ended(self) -> bool:
        """Has the server nothing more to say?"""
        return self.line() == ""
