"""courierpy tour: two clients on a demo server, and what passes between them, with the IMAP lines beside.

A push, a search in 10,000 messages, a resync with CONDSTORE: against a server of its own, with mail of its
own, which are gone at the end.  On a terminal it waits for Enter behind each step.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import sys
import textwrap
import time
from collections.abc import Iterator

from courierpy.admin import demo, give_up
from courierpy.model.numbers import decimal
from courierpy.testing import places
from courierpy.testing.account import Account
from courierpy.testing.guard import ServerError
from courierpy.testing.server import Server

MESSAGES = 10_000
MOST_MESSAGES = 1_000_000
PATIENCE = 120.0               # seconds, of one read: a search without an index may take some on a slow disk
TEXT_WIDTH = 38                # of what is told beside the lines, where the terminal has room for both
TWO_COLUMNS = 100              # columns that it takes
MOST_SHOWN = 12                # lines of one reply; the others are counted
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
COLOURS = {"A": "\x1b[36m", "B": "\x1b[33m"}
_WORDS = ("loom", "engine", "pattern", "flower", "number", "wheel", "letter", "garden", "harbour", "lantern",
          "meadow", "orchard", "paper", "river", "signal", "timber", "valley", "winter", "copper", "marble")
RARE = "perihelion"            # in one message of a hundred


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy tour", description=__doc__)
    parser.add_argument("--fast", action="store_true",
                        help="plain text, without a stop, as where there is no terminal")
    parser.add_argument("--messages", type=_count, default=MESSAGES, metavar="N",
                        help=f"in the mailbox, {MESSAGES:,} unless told")
    options = parser.parse_args(words)
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not options.fast
    try:
        with Server() as server:
            Tour(server, Screen(terminal), options.messages).run()
    except (ServerError, Lost) as error:
        give_up(str(error))
    except Enough:
        pass
    return 0


def _count(text: str) -> int:
    number = decimal(text, MOST_MESSAGES)
    if number is None or number < len(demo.MESSAGES) + 4:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from {len(demo.MESSAGES) + 4} to "
                                         f"{MOST_MESSAGES:,} was expected")
    return number


class Enough(Exception):
    """Who looks has typed q, or ended the input."""


class Lost(Exception):
    """A client was refused something, or lost its connection."""


class Screen:
    """Where it is shown.  ``terminal``: in colours, in two columns where there is room, a step at a time."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal
        self.told: list[str] = []
        self.lines: list[tuple[str, str]] = []

    def say(self, text: str) -> None:
        """A paragraph of the step."""
        self.told += [*textwrap.wrap(" ".join(text.split()), self._text_width), ""]

    def line(self, who: str, text: str) -> None:
        """What client A or B, the first character of ``who``, has said or heard."""
        plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
        self.lines.append((who, plain))

    def step(self, title: str) -> None:
        """Shows what came since the step before, under its title, and waits for who looks."""
        print(f"{BOLD}{title}{PLAIN}\n" if self.terminal else f"== {title}\n")
        for row in self._beside() if self._width >= TWO_COLUMNS else self._below():
            print(row.rstrip())
        print(flush=True)
        self.told, self.lines = [], []
        if self.terminal:
            print(f"{DIM}Enter goes on, q ends{PLAIN} ", end="", flush=True)
            said = sys.stdin.readline()
            if not said or said.strip().lower() == "q":
                raise Enough

    @property
    def _width(self) -> int:
        return shutil.get_terminal_size().columns if self.terminal else 0

    @property
    def _text_width(self) -> int:
        width = self._width
        return TEXT_WIDTH if width >= TWO_COLUMNS else max(20, min(width or 78, 78))

    def _spoken(self, room: int) -> Iterator[str]:
        """The lines of the clients, each as long as there is room, 0 for any."""
        for who, text in self.lines:
            row = f"{who} {text}"
            if room and len(row) > room:
                row = row[:room - 1] + "…"
            yield f"{COLOURS[who[0]]}{row}{PLAIN}" if self.terminal else row

    def _below(self) -> Iterator[str]:
        yield from self.told
        yield from self._spoken(self._width)

    def _beside(self) -> Iterator[str]:
        spoken = list(self._spoken(self._width - TEXT_WIDTH - 3))
        for number in range(max(len(self.told), len(spoken))):
            left = self.told[number] if number < len(self.told) else ""
            yield f"{left:{TEXT_WIDTH}} | {spoken[number] if number < len(spoken) else ''}"


class Client:
    """A connection whose lines are shown.  ``name``: A or B."""

    def __init__(self, name: str, account: Account, screen: Screen) -> None:
        self.name = name
        self.screen = screen
        self._account = account
        self._number = 0
        self._sock = socket.create_connection((account.host, account.server.port), PATIENCE)
        self._file = self._sock.makefile("rb")
        self._hear()

    def close(self) -> None:
        self._file.close()
        self._sock.close()

    def login(self) -> None:
        """The password is not shown."""
        self._send(f"LOGIN {self._account.user} {self._account.password}", f"LOGIN {self._account.user} ...")
        self._end()

    def do(self, command: str) -> list[str]:
        """The untagged lines of the reply; of many only the first ones are shown.  Raises Lost."""
        self._send(command)
        return self._end()

    def idle(self) -> None:
        """Returns when the server has said that it tells changes."""
        self._send("IDLE")
        self._shown(self._hear())

    def until(self, pattern: str) -> str:
        """The next line that has the pattern; all are shown."""
        while True:
            text = self._hear()
            self._shown(text)
            if re.search(pattern, text):
                return text

    def done(self) -> None:
        """The end of IDLE."""
        self._sock.sendall(b"DONE\r\n")
        self.screen.line(f"{self.name}>", "DONE")
        self._end()

    def _send(self, command: str, shown: str = "") -> None:
        self._number += 1
        tag = f"{self.name.lower()}{self._number}"
        self.screen.line(f"{self.name}>", f"{tag} {shown or command}")
        self._sock.sendall(f"{tag} {command}\r\n".encode())

    def _end(self) -> list[str]:
        """What comes before the tagged line, as ``do``."""
        tag = f"{self.name.lower()}{self._number} "
        heard: list[str] = []
        while not (text := self._hear()).startswith(tag):
            heard.append(text)
        for untagged in heard[:MOST_SHOWN]:
            self._shown(untagged)
        if len(heard) > MOST_SHOWN:
            self._shown(f"... and {len(heard) - MOST_SHOWN:,} lines more")
        self._shown(text)
        if not text.startswith(f"{tag}OK"):
            raise Lost(f"client {self.name} was refused: {text}")
        return heard

    def _hear(self) -> str:
        try:
            line = self._file.readline()
        except OSError as error:
            raise Lost(f"client {self.name} heard nothing: {error}") from None
        if not line.endswith(b"\n"):
            raise Lost(f"client {self.name}: the server has closed the connection")
        return line.decode("utf-8", "replace").rstrip("\r\n")

    def _shown(self, text: str) -> None:
        self.screen.line(f"{self.name}<", text)


class Tour:
    """The steps, in their order."""

    def __init__(self, server: Server, screen: Screen, count: int) -> None:
        self.server = server
        self.screen = screen
        self.count = count
        self.account = server.account("demo", "demo")

    def run(self) -> None:
        start = time.monotonic()
        fill(self.account.maildir, self.count)
        self.screen.say(f"""A server of its own listens on {self.server.host} port {self.server.port}; the
            mailbox of the account demo has {self.count:,} messages, each a file. They were written in
            {_seconds(start)}.""")
        self.screen.say("""Two clients log in: A, a mail reader on a desk, and B, one in a pocket.""")
        first = Client("A", self.account, self.screen)
        try:
            second = Client("B", self.account, self.screen)
            try:
                self._steps(first, second)
            finally:
                second.close()
        finally:
            first.close()

    def _steps(self, first: Client, second: Client) -> None:
        first.login()
        second.login()
        self.screen.step("Two clients")
        self._select(first, second)
        self._push(first, second)
        self._search(first)
        self._resync(first, second)
        self.screen.say("""That was all: the server ends, and its mail is removed. The same on your own mail:
            imapd ~/Maildir, then type a SELECT INBOX. A server that stays: courierpy demo demo --serve.""")
        first.do("LOGOUT")
        self.screen.step("The end")

    def _select(self, first: Client, second: Client) -> None:
        start = time.monotonic()
        first.do("SELECT INBOX")
        self.screen.say(f"""A opens the mailbox for the first time: each message gets its UID, in the file
            that Courier keeps too. It took {_seconds(start)}.""")
        start = time.monotonic()
        second.do("SELECT INBOX")
        self.screen.say(f"B opens it as A has left it, in {_seconds(start)}.")
        self.screen.step("SELECT")

    def _push(self, first: Client, second: Client) -> None:
        second.idle()
        self.screen.say("B waits in IDLE. A message is delivered: a file comes into new/.")
        start = time.monotonic()
        self.account.deliver(b"From: Ada Lovelace <ada@example.org>\nTo: demo@example.org\n"
                             b"Subject: The cards have come\n\nAll of them.\n")
        second.until(r"^\* \d{1,10} EXISTS$")
        self.screen.say(f"B hears of it {_seconds(start)} after the delivery began: the kernel tells the "
                        "server of the file, nobody asks each minute.")
        first.do("NOOP")
        start = time.monotonic()
        first.do(rf"STORE {self.count + 1} +FLAGS (\Flagged)")
        second.until(rf"^\* {self.count + 1} FETCH .*\\Flagged")
        self.screen.say("A, which does not wait, is told with its next command. It sets a flag, and B hears "
                        f"of that too, {_seconds(start)} after A said so.")
        second.done()
        self.screen.step("A push")

    def _search(self, first: Client) -> None:
        said = f'UID SEARCH RETURN (COUNT MIN MAX) TEXT "{RARE}"'
        for text in ("A looks for a word in all headers and texts. For the first time each file is read: "
                     "{seconds}. What was found in it is kept in the index.",
                     "The same once more, out of the index: {seconds}."):
            start = time.monotonic()
            first.do(said)
            self.screen.say(text.format(seconds=_seconds(start)))
        start = time.monotonic()
        first.do('UID SEARCH RETURN (COUNT) FROM "ada" SUBJECT "engine"')
        self.screen.say(f"Sender and subject: {_seconds(start)}.")
        self.screen.step(f"A search in {self.count + 1:,} messages")

    def _resync(self, first: Client, second: Client) -> None:
        heard = second.do("SELECT INBOX (CONDSTORE)")
        found = re.search(r"HIGHESTMODSEQ (\d{1,20})", "\n".join(heard))
        if found is None:
            raise Lost("client B was told no HIGHESTMODSEQ")
        modseq = found[1]
        second.do("UNSELECT")
        self.screen.say(f"B remembers one number, HIGHESTMODSEQ {modseq}, and goes out of reach. Meanwhile "
                        "A marks three messages.")
        first.do(r"UID STORE 2,3,5 +FLAGS.SILENT (\Seen)")
        start = time.monotonic()
        second.do("SELECT INBOX (CONDSTORE)")
        changed = second.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})")
        self.screen.say(f"""B is back and asks what has changed since: {len(changed)} lines instead of
            {self.count + 1:,}, in {_seconds(start)} with the SELECT (CONDSTORE, RFC 7162).""")
        self.screen.step("A resync")


def _seconds(start: float) -> str:
    """The time since then, as a person reads it."""
    seconds = time.monotonic() - start
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def fill(maildir: str, count: int) -> None:
    """The demo's messages and others like them, so many in all, as its owner's."""
    owner = places.owner()
    when = int(time.time()) - 60 * count
    for number in range(count):
        when += 60
        path = os.path.join(maildir, "cur", f"{when}.M{number:06}P1.tour:2,")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(_message(number, when))
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        os.utime(path, (when, when))


def _message(number: int, when: int) -> str:
    if number < len(demo.MESSAGES):
        sender, subject, text = demo.MESSAGES[number]
    else:
        # numbers without a common factor: no two messages of a mailbox are alike
        first, second, third = (_WORDS[number * step % len(_WORDS)] for step in (1, 3, 7))
        sender = f"{first.title()} <{first}.{number % 97}@example.org>"
        subject = f"The {second} of the {third}, {number}"
        text = f"The {third} and the {first} are with the {second}.\n" * 8
        if number % 100 == 42:
            text += f"It is at its {RARE}.\n"
    return demo.message(f"tour{number}", when, sender, subject, text)
