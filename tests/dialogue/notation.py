"""The notation of dialogue files, and the player that runs one against servers.

A file is a header (``key: value`` words, then a blank line) and lines::

    1> a SELECT INBOX            client 1 sends (\\r\\n is added; {n} literals are counted)
    1< * 3 EXISTS                client 1 must get this line before its next tagged line
    1< a OK [READ-WRITE] ...     ``...`` matches anything; $name binds on first sight
    2! EXPUNGE                   client 2 must not get this before it sends again
    = deliver new/one            an act from outside the protocol

Untagged lines that the file does not name are passed over unless the header
says ``strict: yes``, or ``strict: 1`` for one client.  ``needs``: capabilities that it takes for
granted.  ``mail`` names a row of SETS, the messages that are there; ``new: yes`` puts them into new/.
A word in capitals is a setting.
"""
from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from courierpy.admin import demo
from tests.conftest import MAIL

DEADLINE = 20.0
# RFC 9051 7.1: behind the condition, and behind its code, there is text; strict clients stop without it
CONDITION = re.compile(r"[^+\s]\S* (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)")
WHOLE_CONDITION = re.compile(r"\S+ (?:OK|NO|BAD|BYE|PREAUTH) (?:\[[^\n]*?\] )?[^\s\[][^\n]*")

MAILS = {
    "one": b"From: Ann <ann@example.org>\nTo: Bob <bob@example.net>\nSubject: first words\n"
           b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <one@example.org>\n\nHello Bob.\n",
    "two": b"From: \"Carl, the Great\" <carl@example.org>\nTo: bob@example.net\nSubject: Re: first words\n"
           b"Date: Tue, 2 Jan 2024 11:00:00 +0200\nMessage-ID: <two@example.org>\n"
           b"References: <one@example.org>\nMIME-Version: 1.0\n"
           b"Content-Type: multipart/mixed; boundary=xx\n\n--xx\nContent-Type: text/plain; charset=utf-8\n"
           b"Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n--xx\n"
           b"Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64\n\n"
           b"AAECAw==\n--xx--\n",
    "three": b"Subject: no sender\n\nthird\n",
}


def _mail(subject: str, sender: str, day: int, own: str = "", refs: str = "", more: str = "") -> bytes:
    lines = [f"From: {sender}", f"Subject: {subject}", f"Date: {day} Feb 2024 12:00:00 +0000"]
    lines += [f"Message-ID: <{own}>"] if own else []
    lines += [f"References: {refs}"] if refs else []
    return "\n".join([*lines, *filter(None, [more]), "", "text", ""]).encode()


MAILS.update({
    "plan": _mail("the plan", "zoe@example.org", 5, "p1@x"),
    "re-plan": _mail("Re: [list] the plan (fwd)", "Bert <bert@example.org>", 3, "p2@x", "<p1@x>"),
    "other": _mail("=?utf-8?q?=C3=84pfel?=", "Ann <ann@example.org>", 4, "p3@x"),
    "lost": _mail("Re: [list]  THE plan", "carl@example.org", 9, "p4@x", "<nowhere@x> <p2@x>"),
    "again": _mail("the plan", "ann@example.net", 9, '"p4"@x', "<p1@x>"),
    "empty-subject": _mail("", "group: dan@example.org;", 1, "p5@x", "<p5@x>"),
    "parts": b"Subject: parts\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
             b"--b\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=\n=C3=9Fe\nend\n"
             b"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAEC\nAwQ=\n"
             b"--b\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n"
             b"--b\nContent-Transfer-Encoding: base64\n\nQUJD*QUJD\n"
             b"--b\nContent-Transfer-Encoding: base64\n\nQUJD\nREVG\n"
             b"--b\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Transfer-Encoding: base64\n\n"
             b"aW5uZXI=\n--b\nContent-Transfer-Encoding: Quoted-Printable\n\n=XY\n--b--\n",
    "shown1": b"From: =?utf-8?q?=C3=84pfel?= <zoe@x>\nTo: zz@b.example\n\n1\n",
    "shown2": b"From: bert <bert@x>\nTo: Mia <a@x>\n\n2\n",
    "shown3": b"From: \"\" <Carl@b>\n\n3\n",
    "shown4": b"Subject: nobody\nTo: aa@b.example\n\n4\n",
    "shown5": b"From: friends: x@y;\nTo: <b@c>\n\n5\n",
    "break1": _mail("my IMAP break", "user@example.com", 1),
    "break2": _mail("broken: it breaks, and IMAP", "ann@example.net", 3),
    "hello": _mail("Hello", "user@example.com", 4),
    "help": _mail("Help hallo", "ann@example.net", 5, more="Comments: hello in a paragraph"),
    "greet": _mail("Gr\u00fc\u00dfe oder Gr\u00fcsse", "J\u00f6rg <joerg@example.org>", 6),
    "8bit": _mail("gr\u00fc\u00dfe", "J\u00f6rg <j\u00f6rg@\u00f6.example>", 1),
})
MAILS.update({f"demo{at}": (
    f"From: {sender}\nTo: demo@example.org\nSubject: {subject}\nDate: Tue, 24 Nov 2026 1{at}:00:00 +0000\n"
    f"Message-ID: <demo{at}@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
    f"{text}").encode() for at, (sender, subject, text) in enumerate(demo.MESSAGES)})
MAILS.update({f"mail{at}": MAIL % (at, at, at) for at in (1, 2, 3)})
MAILS.update({
    "collated1": _mail("the plan", "ann@example.org", 1, more="X-Case: yes").replace(b"\ntext", b"\nBody"),
    "collated2": _mail("The PLAN", "bob@example.org", 2, more="X-Case: YES"),
    "collated3": _mail("=?utf-8?q?=C3=84pfel?=", "carl@example.org", 3),
    "collated4": _mail("the plan", "dan@example.org", 4),
    "collated5": _mail("Zebra", "ANN@example.net", 5)})
SETS: dict[str, list[str]] = {"empty": [], "one": ["one"], "two": ["one", "two"],
                              "three": ["one", "two", "three"], "8bit": ["8bit"],
                              "demo": ["demo0", "demo1", "demo2", "demo3"],
                              "mails": ["mail1", "mail2", "mail3"],
                              "parts": ["parts", "three"],
                              "fuzzy": ["break1", "break2", "hello", "help", "greet"],
                              "collated": [f"collated{at}" for at in range(1, 6)],
                              "display": ["shown1", "shown2", "shown3", "shown4", "shown5"],
                              "threads": ["plan", "re-plan", "other", "lost", "again", "empty-subject"]}


class Process(Protocol):
    """An imapd."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def wait(self, timeout: float) -> int: ...


def start(maildir: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "courierpy.imapd", str(maildir)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ,
        cwd=maildir, bufsize=0)


class Client:
    """One imapd over a pipe, in the dialogue's Maildir."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.buffer = b""
        self.passed: list[bytes] = []

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def line(self) -> bytes:
        """The next reply line, literals included as they stand."""
        end = time.monotonic() + DEADLINE
        whole = b""
        while True:
            while b"\r\n" not in self.buffer:
                self._more(end)
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            whole += line
            literal = re.search(rb"\{(\d+)\}$", line)       # or of a literal8
            if not literal:
                return whole
            size = int(literal[1])
            while len(self.buffer) < size:
                self._more(end)
            whole += b"\r\n" + self.buffer[:size]
            self.buffer = self.buffer[size:]

    def _more(self, end: float) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
            raise AssertionError("no line came in time")
        data = os.read(fd, 65536)
        if not data:
            raise AssertionError("the server closed the connection")
        self.buffer += data

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(DEADLINE)


class Dialogue:
    """A file read: ``header`` words and ``steps`` of (line number, client, act, text)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
        self.header: dict[str, str] = {}
        for word in head.splitlines():
            if not word.startswith("#"):
                key, _, value = word.partition(":")
                self.header[key.strip()] = value.strip()
        self.steps: list[tuple[int, str, str, str]] = []
        first = head.count("\n") + 3
        for number, line in enumerate(body.splitlines(), first):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.match(r"(\d*)([<>!=]) ?(.*)$", line)
            if not match:
                raise ValueError(f"{path.name}:{number}: not a step: {line}")
            self.steps.append((number, match[1] or "1", match[2], match[3]))


class Player:
    """Runs a dialogue in a fresh Maildir below ``home``.  ``start``: function (Maildir, environment) that
    starts an imapd."""

    def __init__(self, dialogue: Dialogue, home: Path,
                 start: Callable[[Path, dict[str, str]], Process] = start) -> None:
        self.start = start
        self.dialogue = dialogue
        self.maildir = home / "Maildir"
        self.clients: dict[str, Client] = {}
        self.bound: dict[str, str] = {}
        self.talk: list[str] = []
        self.forbidden: dict[str, list[str]] = {}
        self.strict = dialogue.header.get("strict", "")
        for name in ("cur", "new", "tmp"):
            (self.maildir / name).mkdir(parents=True)
        for at, name in enumerate(SETS[dialogue.header.get("mail", "empty")]):
            self.put(f"new/{1700000000 + at}.M{at}P1.host" if "new" in dialogue.header
                     else f"cur/{1700000000 + at}.M{at}P1.host:2,", MAILS[name], at)
        self.environ = {"PATH": os.environ["PATH"], "AUTHENTICATED": "demo", "TZ": "UTC",
                        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOSTNAME": "host"}
        for key, value in dialogue.header.items():
            if key.isupper():
                self.environ[key] = value

    def put(self, path: str, data: bytes, at: int) -> None:
        file = self.maildir / path
        file.write_bytes(data)
        os.utime(file, (1700000000 + at, 1700000000 + at))

    def run(self) -> None:
        try:
            steps = self.dialogue.steps
            at = 0
            while at < len(steps):
                number, who, act, text = steps[at]
                at += 1
                if act == "=":
                    self.outside(text)
                    continue
                client = self.client(who)
                if act == ">":
                    self.forbidden[who] = []
                    self.send(who, client, text)
                elif act == "!":
                    self.forbidden.setdefault(who, []).append(self.fill(text.split("#")[0].strip()))
                    self.check_forbidden(who)
                else:
                    wanted = [text]
                    while at < len(steps) and steps[at][1:3] == (who, "<"):
                        wanted.append(steps[at][3])
                        at += 1
                    self.expect(number, who, client, wanted)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.dialogue.path.name}, the conversation:\n"
                                 + "\n".join(self.talk)) from None
        finally:
            for client in self.clients.values():
                client.close()

    def client(self, who: str) -> Client:
        if who not in self.clients:
            client = self.clients[who] = Client(self.start(self.maildir, self.environ))
            greeting = client.line()
            self.talk.append(f"{who}< {greeting.decode()}")
            assert greeting.startswith(b"* PREAUTH "), greeting
        return self.clients[who]

    def send(self, who: str, client: Client, text: str) -> None:
        text = self.fill(text)
        self.talk.append(f"{who}> {text}")
        client.passed = []
        client.send(text.encode().decode("unicode_escape").encode("latin-1") + b"\r\n")

    def fill(self, text: str) -> str:
        return re.sub(r"\$(\w+)", lambda m: self.bound.get(m[1], m[0]), text)

    def outside(self, text: str) -> None:
        """deliver NAME [FILE]: a message into new/;  remove GLOB;  move GLOB DIRECTORY;  flags GLOB LETTERS;
        maildir PATH: an empty one;  write FILE TEXT;  program FILE TEXT: one that can be started;
        is FILE TEXT: that is in it."""
        self.talk.append(f"= {text}")
        verb, *rest = text.split()
        if verb == "deliver":
            name = rest[1] if len(rest) > 1 else f"{1700000100 + len(self.talk)}.M1P2.host"
            self.put(f"tmp/{name}", MAILS[rest[0]], 100)
            os.rename(self.maildir / "tmp" / name, self.maildir / "new" / name)
        elif verb == "remove":
            found = list(self.maildir.glob(rest[0]))
            assert found, f"nothing to remove: {rest[0]}"
            for file in found:
                file.unlink()
        elif verb == "move":
            for file in self.maildir.glob(rest[0]):
                file.rename(self.maildir / rest[1] / file.name)
        elif verb == "flags":
            for file in self.maildir.glob(rest[0]):
                file.rename(file.with_name(file.name.partition(":")[0] + ":2," + rest[1]))
        elif verb in ("write", "program"):
            text = " ".join(text.split(" ")[2:])
            (self.maildir / rest[0]).write_bytes(text.encode().decode("unicode_escape").encode("latin-1"))
            if verb == "program":
                (self.maildir / rest[0]).chmod(0o755)
        elif verb == "is":
            wanted = " ".join(text.split(" ")[2:]).encode().decode("unicode_escape").encode("latin-1")
            assert (self.maildir / rest[0]).read_bytes() == wanted, (self.maildir / rest[0]).read_bytes()
        elif verb == "maildir":
            path = self.maildir / os.fsdecode(rest[0].encode().decode("unicode_escape").encode("latin-1"))
            for part in ("cur", "new", "tmp"):
                (path / part).mkdir(parents=True, exist_ok=True)     # a server that looks may be first
        else:
            raise ValueError(f"unknown act: {verb}")

    def expect(self, number: int, who: str, client: Client, wanted: list[str]) -> None:
        """Read up to the last wanted line; the others may come in any order before it."""
        open_lines = list(wanted)
        last = wanted[-1]
        while open_lines:
            try:
                line = client.line().decode("utf-8", "backslashreplace")
            except AssertionError as error:
                raise AssertionError(f"line {number}: {error}; still wanted: {open_lines}") from None
            self.talk.append(f"{who}< {line}")
            assert not CONDITION.match(line) or WHOLE_CONDITION.fullmatch(line), f"line {number}: {line!r}"
            client.passed.append(line.encode())
            self.check_forbidden(who)
            hit = next((text for text in open_lines if self.matches(text, line)), None)
            if hit is not None:
                open_lines.remove(hit)
                if hit == last and open_lines:
                    raise AssertionError(f"line {number}: never came: {open_lines}")
            elif self.strict in ("yes", who) or not line.startswith("*"):
                raise AssertionError(f"line {number}: unexpected {line!r}; wanted {open_lines}")

    def check_forbidden(self, who: str) -> None:
        for text in self.forbidden.get(who, []):
            for line in self.clients[who].passed:
                assert text not in line.decode("utf-8", "replace"), f"must not come: {line!r}"

    def matches(self, text: str, line: str) -> bool:
        pattern, names = "", []
        for token in re.split(r"(\.\.\.|\$\w+)", text.encode().decode("unicode_escape")):
            if token == "...":
                pattern += "(?s:.*)"
            elif token.startswith("$") and len(token) > 1 and token[1:].islower():
                if token[1:] in self.bound:
                    pattern += re.escape(self.bound[token[1:]])
                else:
                    names.append(token[1:])
                    pattern += rf"(?P<{token[1:]}>[^\s\]()]+)"
            else:
                pattern += re.escape(token)
        match = re.fullmatch(pattern, line)
        if match is None:
            return False
        for name in names:
            self.bound[name] = match[name]
        return True
