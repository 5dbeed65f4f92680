"""A small account, what it holds as a client sees it, and what its files say."""
from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.nursery import Nursery
from tests.faults.talk import Talk

LINE = b"Each message has its own words, so that it is known again wherever it turns up.\r\n"


def text(label: str) -> bytes:
    """The octets of the message ``label``; those of L... are large."""
    size = 1200 if label.startswith("L") else 2
    return (b"From: Ann <ann@example.org>\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\n"
            % (label.encode(), label.encode()) + LINE * size + b"End of %s.\r\n" % label.encode())


LABELS = [f"{letter}{number}" for letter in "ABCDEFLNP" for number in range(1, 6)]
BY_TEXT = {text(label): label for label in LABELS}


def label_of(data: bytes, where: str) -> str:
    """Which message this is.  Anything else is a message in part."""
    label = BY_TEXT.get(data)
    assert label is not None, f"{where}: not a whole message: {len(data)} octets, {data[-80:]!r}"
    return label


@dataclass(frozen=True)
class Mail:
    """``flags``: system flags and keywords, without \\Recent."""

    label: str
    flags: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.label}({' '.join(sorted(self.flags))})"


@dataclass
class Box:
    """``arrived``: labels of messages without a UID, in new/."""

    uidvalidity: int
    uidnext: int
    mails: dict[int, Mail]
    arrived: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shown = " ".join(f"{uid}:{mail}" for uid, mail in self.mails.items())
        return f"validity {self.uidvalidity} next {self.uidnext}: {shown} arrived {self.arrived}"


@dataclass
class World:
    boxes: dict[str, Box]
    subscribed: set[str]

    def __str__(self) -> str:
        return "\n".join([*(f"  {name}: {box}" for name, box in self.boxes.items()),
                          f"  subscribed: {sorted(self.subscribed)}"])


def append(label: str, words: str = "") -> bytes:
    """The end of an APPEND: flags and the literal."""
    data = text(label)
    return (f" ({words})" if words else "").encode() + b" {%d}\r\n" % len(data) + data


def deliver(folder: Path, label: str) -> None:
    """As a delivery agent does."""
    file = folder / "tmp" / f"17000000{LABELS.index(label):02}.M1P1.elsewhere"
    file.write_bytes(text(label).replace(b"\r\n", b"\n"))
    file.rename(folder / "new" / file.name)


def build(nursery: Nursery, maildir: Path, log: Path) -> World:
    """The account before each fault, made by the server itself; mail arrived since."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    talk = Talk(nursery, maildir, log)
    for name in (b"Other", b"Old", b"Old.Child", b"Arrivals"):
        talk.ok(b"CREATE INBOX." + name)
    for box, label, words in (
            ("", "E1", ""),
            ("", "A1", r"\Seen \Flagged Alpha"), ("", "A2", ""), ("", "A3", r"\Deleted Beta"),
            ("", "A4", r"\Deleted \Seen"), ("", "A5", "Alpha Beta"),
            (".Other", "B1", r"\Answered Gamma"), (".Other", "B2", ""),
            (".Old", "C1", r"\Seen Delta"), (".Old.Child", "C2", ""), (".Arrivals", "D1", r"\Seen")):
        talk.ok(f"APPEND INBOX{box}".encode() + append(label, words))
    talk.ok(b"SELECT INBOX")
    talk.ok(rb"STORE 1 +FLAGS.SILENT (\Deleted)")
    talk.ok(b"UID EXPUNGE 1")                  # a gap in the numbers
    for name in (b"INBOX", b"INBOX.Other"):
        talk.ok(b"SUBSCRIBE " + name)
    found = look(talk)
    talk.leave()
    for label in ("D2", "D3"):
        deliver(maildir / ".Arrivals", label)
    found.boxes["INBOX.Arrivals"].arrived += ["D2", "D3"]
    for part in ("cur", "new", "tmp"):         # by another program: it has no UIDs
        (maildir / ".Fresh" / part).mkdir(parents=True)
    deliver(maildir / ".Fresh", "F1")
    found.boxes["INBOX.Fresh"] = Box(0, 1, {}, ["F1"])
    return found


def copy(source: Path, target: Path) -> None:
    """The same account once more, its directories old enough to be trusted by their times."""
    shutil.copytree(source, target)
    past = time.time() - 3600
    for top, _, _ in os.walk(target):
        os.utime(top, (past, past))


FETCH = b"UID FETCH 1:* (UID FLAGS BODY.PEEK[])"


def mails(responses: list[bytes]) -> dict[int, Mail]:
    """The messages that were answered to FETCH."""
    found: dict[int, Mail] = {}
    for response in responses:
        uid = re.search(rb"\bUID (\d+)", response)
        flags = re.search(rb"\bFLAGS \(([^)]*)\)", response)
        body = re.search(rb"BODY\[\] \{(\d+)\}\r\n", response)
        if body is None:
            continue
        assert uid is not None and flags is not None, response
        data = response[body.end():body.end() + int(body[1])]
        words = frozenset(flags[1].decode().split()) - {"\\Recent"}
        assert int(uid[1]) not in found, f"UID {int(uid[1])} was told twice"
        found[int(uid[1])] = Mail(label_of(data, f"UID {int(uid[1])}"), words)
    return found


def number(responses: list[bytes], word: bytes) -> int:
    for response in responses:
        match = re.search(rb"\b%s (\d+)" % word, response)
        if match is not None:
            return int(match[1])
    raise AssertionError(f"no {word!r} in {responses}")


def _names(responses: list[bytes]) -> set[str]:
    return {response.rpartition(b' "." ')[2].decode().strip('"') for response in responses[:-1]
            if b"\\Noselect" not in response and b"\\NonExistent" not in response}


def look(talk: Talk) -> World:
    """All that a client can see."""
    boxes = {}
    lsub, listed = talk.all_ok(b'LSUB "" "*"', b'LIST "" "*"')
    names = sorted(_names(listed))
    answers = talk.all_ok(*(command for name in names for command in (b"SELECT " + name.encode(), FETCH)))
    for name, selected, fetched in zip(names, answers[::2], answers[1::2], strict=True):
        found = mails(fetched)
        exists = sum(int(line.split()[1]) for line in selected if line.endswith(b" EXISTS"))
        assert exists == len(found), f"{name}: {exists} EXISTS, {len(found)} messages"
        boxes[name] = Box(number(selected, b"UIDVALIDITY"), number(selected, b"UIDNEXT"), found)
        assert all(uid < boxes[name].uidnext for uid in found), f"{name}: {boxes[name]}"
    return World(boxes, _names(lsub))


def folder_of(maildir: Path, name: str) -> Path:
    return maildir if name == "INBOX" else maildir / name.removeprefix("INBOX")


def numbers_of(folder: Path) -> tuple[list[int], dict[int, str]]:
    """The uiddb: its first line, and base names by UID."""
    head, *lines = (folder / "courierimapuiddb").read_text().splitlines()
    numbers = {int(uid): base for uid, _, base in (line.partition(" ") for line in lines)}
    assert len(numbers) == len(lines) == len(set(numbers.values())), f"{folder.name}: numbered twice: {lines}"
    return [int(word) for word in head.split()], numbers


def check_files(maildir: Path, seen: World) -> None:
    """The files say the same as the server: each message once, whole, numbered once."""
    entries = {entry.name for entry in maildir.iterdir() if entry.is_dir() and entry.name.startswith(".")}
    half = [entry for entry in sorted(entries) if not all((maildir / entry / part).is_dir()
                                                          for part in ("cur", "new", "tmp"))]
    assert not half, f"folders half made or half removed: {half}"
    assert {"INBOX" + entry for entry in entries} | {"INBOX"} == set(seen.boxes), sorted(entries)
    for name, box in seen.boxes.items():
        folder = folder_of(maildir, name)
        files: dict[str, str] = {}
        for part in ("cur", "new"):
            for file in (folder / part).iterdir():
                base = file.name.rpartition(":")[0] or file.name
                assert base not in files, f"{name}: {base} is there twice"
                files[base] = label_of(file.read_bytes().replace(b"\n", b"\r\n"), f"{name}: {file.name}")
        head, numbers = numbers_of(folder)
        assert head == [1, box.uidvalidity, box.uidnext], f"{name}: the uiddb begins with {head}"
        # the number of a message that is gone may stay for a while
        assert {uid: files[base] for uid, base in numbers.items() if base in files} == {
            uid: mail.label for uid, mail in box.mails.items()}, f"{name}: the uiddb has {numbers}"


def leftovers(maildir: Path) -> list[str]:
    """What lies in the tmp directories, but for the marks of sessions that are alive."""
    found = [str(file.relative_to(maildir)) for top in (maildir, *maildir.glob(".*"))
             if (top / "tmp").is_dir() for file in (top / "tmp").iterdir()]
    marks = re.compile(r"P(\d+)_reader\.")
    return sorted(file for file in found
                  if not any(Path(f"/proc/{pid}").exists() for pid in marks.findall(file)))
