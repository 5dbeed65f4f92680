"""python -m tools.recording: the first minute with the demo, recorded: docs/first-minute.cast and .svg.

The commands run in terminals of their own, as they stand in COMMANDS; what they print is kept as they print
it, but for the folder that it happens in and the name of the host, which have others, and for pauses that
are too long to watch.  The first file is asciicast, version 2; the second a picture of it that moves, drawn
of the first.
"""
from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
NAME = "first-minute"
COLUMNS, ROWS = 108, 50
PORTS = (1143, 2143, 3143, 4143)
HOME, HOST = "/home/you", "mail"       # instead of the folder that it happens in, and of the host
PATIENCE = 120.0                       # seconds, until something that must come has come
TYPED, READ, LONGEST = 0.05, 1.0, 0.6      # seconds: for a key, to read a reply, of a pause in between
MAIL = b"From: Ada <ada@example.org>\nTo: you@example.org\nSubject: The cards have come\n\nAll of them.\n"
SIZE, LINE, CHAR = 13, 17, 7.83        # of the picture's letters, in pixels: height, line, width
MARGIN = 14


class Command:
    """``line``: as it is typed; ``until``: what it prints when it has done its work; ``stays``: it runs on
    in its terminal; ``said``: what is typed into it then, each with what that is answered by."""

    def __init__(self, line: str, until: str = "", stays: bool = False,
                 said: Sequence[tuple[str, str]] = ()) -> None:
        self.line = line
        self.until = until
        self.stays = stays
        self.said = said


DELIVER = "\0"                         # nobody types: a message comes
# a line of the log may come between the demo's last line and its end
COMMANDS = (
    Command("courierpy demo demo --serve --port {port}", r"(?s)removes the demo\..*\n", stays=True),
    Command("curl imap://127.0.0.1:{port}/INBOX -u demo:demo -X 'FETCH 1:* (FLAGS ENVELOPE)'"),
    # not by maildirmake, which says more where it is root who makes it
    Command("mkdir -p mail/cur mail/new mail/tmp"),
    Command("imapd mail", r"Ready\.", said=(
        ("a SELECT INBOX", r"(?m)^a OK"), ("b IDLE", r"(?m)^\+ "), (DELIVER, r"\* 1 EXISTS"),
        ("DONE", r"(?m)^b OK"), ("c FETCH 1 (FLAGS ENVELOPE)", r"(?m)^c OK"), ("d LOGOUT", r"(?m)^d OK"))))


class Failed(Exception):
    """A command did not do what it was to do; str() has what it printed."""


class Recording:
    """Events of an asciicast: (seconds, text)."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self.now = 0.0

    def shows(self, text: str, after: float) -> None:
        """``after``: seconds since the event before, of which too many count as LONGEST."""
        self.now = round(self.now + min(after, LONGEST), 3)
        self.events.append((self.now, text))

    def waits(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    def cast(self) -> str:
        head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "courierpy, the first minute"}
        return "".join(json.dumps(line, ensure_ascii=False) + "\n"
                       for line in (head, *([at, "o", text] for at, text in self.events)))


class Terminal:
    """A command in a terminal of its own.  ``recording``: where what it prints is kept."""

    def __init__(self, line: str, folder: str, recording: Recording) -> None:
        self.recording = recording
        self.folder = folder
        self.printed = ""              # without carriage returns
        self._seen = 0                 # of it, by ``until``
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = time.monotonic()
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
        environ = {"PATH": path, "HOME": folder, "LANG": "C.UTF-8", "TERM": "dumb", "PYTHONPATH": str(HOUSE),
                   "AUTHENTICATED": "you"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve("/bin/sh", ["sh", "-c", f"exec {line}"], environ)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def until(self, pattern: str) -> None:
        """Returns when it has printed that since the call before; without one, when it has ended.  Raises
        Failed."""
        end = time.monotonic() + PATIENCE
        while not pattern or not (found := re.compile(pattern).search(self.printed, self._seen)):
            if not select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise Failed(f"no {pattern or 'end'!r} in {PATIENCE:.0f} s: {self.printed}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:            # EIO: nobody has the other end any more
                data = b""
            if not data:
                if pattern:
                    raise Failed(f"no {pattern!r}: {self.printed}")
                return
            text = self._decode.decode(data)
            self.printed += text.replace("\r", "")
            now = time.monotonic()
            told = re.sub(rf"(?<= ){re.escape(socket.gethostname())}(?= \w+\[\d)", HOST, text)
            self.recording.shows(told.replace(self.folder, HOME), now - self._last)
            self._last = now
        self._seen = found.end()

    def types(self, line: str) -> None:
        """A key after the other; the terminal echoes them."""
        for char in f"{line}\n":
            os.write(self.fd, char.encode())
            self.until(r"\n" if char == "\n" else re.escape(char))
            self.recording.waits(TYPED)
        self._last = time.monotonic()

    def ends(self) -> None:
        """By ctrl-C where it runs; returns when it does no more."""
        try:
            os.kill(self.pid, signal.SIGINT)
        except ProcessLookupError:
            pass
        # what nobody reads would keep it from its end
        try:
            while select.select([self.fd], [], [], PATIENCE)[0] and os.read(self.fd, 65536):
                pass
            os.kill(self.pid, signal.SIGKILL)
        except OSError:                # EIO: nobody has the other end any more
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def record(ports: Sequence[int] = PORTS) -> Recording:
    """The first minute, on the first of these ports of 127.0.0.1 that can be had.  Raises Failed."""
    folder = tempfile.mkdtemp(prefix=f"{NAME}-", dir="/var/tmp")
    os.chmod(folder, 0o755)            # the account of root's demo is nobody's
    try:
        for port in ports:
            recording = Recording()
            try:
                _run(recording, folder, port)
                return recording
            except Failed as error:
                if "take another one" not in str(error):
                    raise
        raise Failed(f"no port of {', '.join(map(str, ports))} can be had")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(recording: Recording, folder: str, port: int) -> None:
    open_ones: list[Terminal] = []
    try:
        for command in COMMANDS:
            line = command.line.format(port=port)
            recording.shows("$ ", READ)
            for char in line + (" &" if command.stays else ""):
                recording.shows(char, TYPED)
            recording.shows("\r\n", READ)
            terminal = Terminal(line, folder, recording)
            open_ones.append(terminal)
            terminal.until(command.until)
            for said, answer in command.said:
                recording.waits(READ)
                if said == DELIVER:
                    _deliver(os.path.join(folder, "mail"))
                else:
                    terminal.types(said)
                terminal.until(answer)
            if not command.stays:
                terminal.until("")
            recording.waits(READ)
    finally:
        for terminal in reversed(open_ones):
            terminal.ends()


def _deliver(maildir: str) -> None:
    """As an MTA does it."""
    name = f"{int(time.time())}.M1P1.{NAME}"
    with open(os.path.join(maildir, "tmp", name), "xb") as file:
        file.write(MAIL)
    os.rename(os.path.join(maildir, "tmp", name), os.path.join(maildir, "new", name))


# -- the picture

def lines(cast: str) -> list[list[tuple[float, str]]]:
    """What stands in each line in the end: pieces, each with the second in which it came."""
    found: list[list[tuple[float, str]]] = [[]]
    for row in cast.splitlines()[1:]:
        at, kind, text = json.loads(row)
        if kind != "o":
            continue
        for piece in re.findall(r"\r?\n|[^\r\n]+", text):
            if piece.endswith("\n"):
                found.append([])
                continue
            piece = piece.expandtabs()
            while piece:
                room = COLUMNS - sum(len(said) for _, said in found[-1])
                if not room:
                    found.append([])
                    continue
                found[-1].append((at, piece[:room]))
                piece = piece[room:]
    while found and not found[-1]:
        found.pop()
    return found


def picture(cast: str) -> str:
    """An SVG that shows the lines as they came, once, and then all of them; where nothing moves, at once."""
    found = lines(cast)
    width, height = round(2 * MARGIN + COLUMNS * CHAR), 2 * MARGIN + LINE * len(found)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="{SIZE}">',
             "<title>The first minute: a demo server, curl, and a session by hand</title>",
             # hidden until its time has come: what knows no animation shows all
             "<style>@keyframes later{from,to{visibility:hidden}}"
             "@media (prefers-reduced-motion:no-preference){tspan{animation:later step-end}}</style>",
             f'<rect width="{width}" height="{height}" rx="8" fill="#1d2229"/>']
    for number, pieces in enumerate(found):
        said = "".join(f'<tspan style="animation-duration:{at:g}s">{escape(text)}</tspan>'
                       for at, text in pieces)
        colour = "#ffffff" if "".join(text for _, text in pieces).startswith("$ ") else "#b9c4d0"
        parts.append(f'<text x="{MARGIN}" y="{MARGIN + SIZE + LINE * number}" fill="{colour}" '
                     f'xml:space="preserve">{said}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(words: list[str]) -> int:
    """``words``: ``--draw`` only draws anew what is recorded already."""
    cast = HOUSE / "docs" / f"{NAME}.cast"
    if words != ["--draw"] and shutil.which("curl") is None:
        print("curl is not installed, and the first minute has it", file=sys.stderr)
        return 1
    if words != ["--draw"]:
        try:
            cast.write_text(record().cast(), encoding="utf-8")
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
    cast.with_suffix(".svg").write_text(picture(cast.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"docs/{NAME}.cast, docs/{NAME}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
