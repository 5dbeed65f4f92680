"""Disturb a command at one call, then see whether the account is in order.

One case again, with all that was said and found:

    python -m tests.faults.sweep append-multi-rename-2-kill ...

Errors that the code cannot tell apart take turns from call to call; with COURIERPY_FAULTS=all
in the environment every call gets each of them.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.hook import CHANGES, GROUPS
from tests.faults.nursery import Nursery
from tests.faults.operations import BY_NAME, Judge, Moved, Operation, Told, told
from tests.faults.talk import Dead, Talk
from tests.faults.world import (
    FETCH,
    World,
    append,
    build,
    check_files,
    copy,
    deliver,
    folder_of,
    leftovers,
    look,
    mails,
    numbers_of,
)

# what the kernel may answer to each kind of call, on the file systems that mail lies on
ERRORS = {
    "open": ("EMFILE", "ENFILE", "EACCES", "EIO"),
    "create": ("ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE", "EROFS", "EACCES"),
    "read": ("EIO",),
    "write": ("ENOSPC", "EDQUOT", "EIO", "short"),
    "rename": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "link": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "unlink": ("EIO", "EROFS", "EACCES"),
    "mkdir": ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"),
    "rmdir": ("EIO", "EROFS", "EACCES"),
    "truncate": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT"),
    "utime": ("EIO", "EROFS", "EACCES"),
    "stat": ("EIO", "EACCES"),
    "list": ("EIO", "EMFILE", "ENFILE", "EACCES"),
    "close": ("EIO", "ENOSPC", "EDQUOT"),
}
GROUP_ERRORS = {"full": ("ENOSPC", "EDQUOT"), "descriptors": ("EMFILE", "ENFILE"), "readonly": ("EROFS",)}
LOOKS = ("open", "read", "stat", "list")      # there are many of these: one error each, in turn
TWINS = (("ENOSPC", "EDQUOT"), ("EMFILE", "ENFILE"), ("EROFS", "EACCES"))

# RFC 5530: what the client is told of each
CODES = {"ENOSPC": "OVERQUOTA", "EDQUOT": "OVERQUOTA", "EACCES": "NOPERM", "EROFS": "NOPERM",
         "EIO": "UNAVAILABLE", "EMFILE": "UNAVAILABLE", "ENFILE": "UNAVAILABLE"}

# nothing of ours may be in a line to the client
OURS = re.compile(rb"/|Errno|Traceback|\.py\b|courierimap|courier\.lock|tmp|0x[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    operation: Operation
    kind: str
    number: int
    fault: str

    def __str__(self) -> str:
        return f"{self.operation.name}-{self.kind}-{self.number}-{self.fault}"

    @property
    def kills(self) -> bool:
        return self.fault in ("kill", "after", "torn")

    @property
    def plan(self) -> dict[str, Any]:
        return {"kind": self.kind, "number": self.number, "fault": self.fault}

    @staticmethod
    def parse(name: str) -> Case:
        operation, kind, number, fault = name.rsplit("-", 3)
        return Case(BY_NAME[operation], kind, int(number), fault)


class Ground:
    """The nursery and the account that each case gets a copy of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nursery = Nursery()
        self.template = folder / "template"
        self.world = build(self.nursery, self.template, folder / "build.log")

    def close(self) -> None:
        self.nursery.close()

    def record(self, operation: Operation, witnessed: bool = False, **environ: str) -> list[dict[str, Any]]:
        """The calls of the command when nothing disturbs it; ``witnessed``: a second session has the
        mailbox open, so that the first hears what happens in it."""
        with Run(self, operation, {}, **environ) as run:
            if witnessed:
                run.witness()
            run.disturb()
            assert run.heard.verdict == "ok", run.report("")
            return run.hits()


class Run:
    """One case, from the copy of the account to the report."""

    hooked = True                    # the faults come from hook.py

    def __init__(self, ground: Ground, operation: Operation, plan: dict[str, Any], **environ: str) -> None:
        self.ground = ground
        self.operation = operation
        self.name = "-".join(map(str, [operation.name, *plan.values()]))
        self.folder = Path(tempfile.mkdtemp(prefix="case-", dir=ground.folder))
        self.maildir = self.folder / "Maildir"
        self.journal = self.folder / "journal"
        self.before: World = deepcopy(ground.world)
        self.after: World | None = None
        self.heard = Told("killed", [], [])
        self.answer = ""                         # to the disturbed command
        self.selected = ""
        self.talks: dict[str, Talk] = {}
        copy(ground.template, self.maildir)
        self.actor = self.talk("actor", self.journal if self.hooked else None, plan, **environ)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        for talk in self.talks.values():
            talk.close()
        # a session that ends may be putting its things away
        shutil.rmtree(self.folder, ignore_errors=True)

    def talk(self, who: str, journal: Path | None = None, plan: dict[str, Any] | None = None,
              **environ: str) -> Talk:
        self.talks[who] = talk = Talk(self.ground.nursery, self.maildir, self.folder / f"{who}.log",
                                      journal, plan, **environ)
        return talk

    def hits(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    # -- the steps

    def prepare(self) -> None:
        for command in self.operation.before:
            self.actor.ok(command)
            self._follow(command)
        if self.operation.arrives:
            deliver(self.maildir, "P1")
            self.before.boxes[self.operation.arrives].arrived.append("P1")

    def witness(self) -> Talk:
        """A second session that has a mailbox open."""
        witness = self.talk("witness")
        witness.ok(b"SELECT " + self.operation.witness.encode())
        return witness

    def command(self) -> list[bytes]:
        """Send the command.  Raises Dead."""
        return self.actor.do(self.operation.command, b"FAULT")

    def disturb(self) -> None:
        """The command under the fault; what was heard of it."""
        self.prepare()
        start = len(self.actor.dialogue)
        try:
            found = self.command()
        except Dead:
            lines = [line[2:].encode() for line in self.actor.dialogue[start:] if line.startswith("< ")]
            self.heard = told(lines, "killed")
            return
        for line in found:
            assert b"SERVERBUG" not in line, f"{line!r}"
            assert not OURS.search(line), f"not for clients: {line!r}"
        self.heard = told(found, found[-1].split()[1].decode().lower())
        self.answer = found[-1].decode("ascii", "backslashreplace")
        assert self.heard.verdict in ("ok", "no"), self.answer
        self._follow(self.operation.command)

    def _follow(self, command: bytes) -> None:
        """Which mailbox is selected now."""
        words = command.decode("ascii", "replace").split()
        if words[0] == "SELECT":
            self.selected = words[1] if self.heard.verdict != "no" else ""
        elif words[0] == "CLOSE" and self.heard.verdict == "ok":
            self.selected = ""

    def inspect(self, kept: bool = True, again: bool = False) -> None:
        """A fresh process looks, and so do we at the files; then the judge."""
        self._told_on_disk()
        talk = self.talk("look again" if again else "look")
        self.after = look(talk)
        check_files(self.maildir, self.after)
        Judge(self.operation, self.before, self.after, self.heard, kept).check()

    def _told_on_disk(self) -> None:
        """UIDs that were told are in the uiddb before anybody looks."""
        if self.heard.verdict == "ok" and self.heard.uids:
            target = self.operation.effects[0]
            box = target.target if isinstance(target, Moved) else target.box
            head, numbers = numbers_of(folder_of(self.maildir, box))
            assert head[1] == self.heard.uidvalidity and set(self.heard.uids) <= set(numbers), (
                f"told UIDs {self.heard.uids}, the uiddb of {box} has {head} {sorted(numbers)}")

    def check_view(self, talk: Talk, name: str) -> None:
        """A session that was open all the time sees what the fresh one saw."""
        assert self.after is not None
        seen = mails(talk.all_ok(b"NOOP", FETCH)[1])
        assert seen == self.after.boxes[name].mails, f"the open session sees another {name}"

    def probe(self, talk: Talk, name: str, label: str) -> None:
        """A message more gets a UID that nobody had."""
        assert self.after is not None
        box = self.after.boxes.get(name)
        if box is not None:
            uid = told(talk.ok(b"APPEND " + name.encode() + append(label, r"\Seen")), "ok").uids[0]
            assert uid >= box.uidnext, f"{name}: UID {uid} was given before"

    def report(self, why: str) -> str:
        parts = [f"{self.name}: {why}",
                 *(f"hit: {hit['call']} {' '.join(hit['paths'])}" for hit in self.hits()[:8])]
        for who, talk in self.talks.items():
            parts += [f"-- {who}", *talk.dialogue[-30:]]
            if talk.log.exists():
                parts += [f"-- log of {who}", *talk.logged().splitlines()[-12:]]
        parts += ["-- before", str(self.before), "-- after", str(self.after)]
        files = sorted(str(file.relative_to(self.maildir)) for file in self.maildir.rglob("*")
                       if file.is_file())
        return "\n".join([*parts, "-- files", *files])


class Failed(Exception):
    """A case that found something.  ``why``: one line."""

    def __init__(self, case: Case, why: str, report: str) -> None:
        super().__init__(report)
        self.case = case
        self.why = why


def run_case(ground: Ground, case: Case) -> bool:
    """True when the fault was reached.  Raises Failed."""
    return check_run(Run(ground, case.operation, case.plan), case)


def check_run(run: Run, case: Case) -> bool:
    with run:
        try:
            if case.kills:
                _killed(run)
            else:
                _failed(run, case)
            return any(case.kind in (hit["kind"], *GROUPS) for hit in run.hits())
        except (AssertionError, Dead, OSError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise Failed(case, why, run.report(f"{type(error).__name__}: {error}")) from None


def _killed(run: Run) -> None:
    box = run.operation.witness
    witness = run.witness()
    run.disturb()
    run.inspect()
    run.check_view(witness, box)
    run.probe(witness, box, "N4")
    for name in ("INBOX.Made", "INBOX.Late", "INBOX.Fresh", "INBOX.Old"):
        run.probe(witness, name, "N5")


def _failed(run: Run, case: Case) -> None:
    run.disturb()
    disturbed = [hit for hit in run.hits() if hit["kind"] != "answer"]
    refused = run.heard.verdict == "no"
    # 1. the code
    assert not refused or disturbed, f"undisturbed, and yet {run.answer}"
    if refused:
        code = CODES.get(case.fault)
        assert f" [{code}] " in run.answer, f"{case.fault} was answered {run.answer}"
    # 2. the session lives, and the account is in order
    run.actor.ok(b"NOOP")
    if case.kind == "readonly":
        run.actor.close()              # its lock, which it could not remove, ends with it
        run.selected = ""
    run.inspect(kept=case.kind != "readonly")
    _check_own_view(run)
    if not {hit["kind"] for hit in disturbed} & {"unlink", "rmdir"}:
        left = [file for file in leftovers(run.maildir) if refused or "_deleted." not in file]
        assert not left, f"left in tmp: {left}"
    # 3. the same once more, unless some of it may be done already
    if refused and case.kind != "readonly":
        _again(run)
    # 4. the log
    if refused:
        names = {name for hit in disturbed for path in hit["paths"] for name in _log_names(path)}
        logged = [line for line in run.actor.logged().splitlines() if not line.startswith("INFO")]
        assert any(re.search(name + ":", line) for name in names for line in logged), (
            f"the log names none of {sorted(names)}: {logged}")


# a scratch file in tmp/ may be called by the name of what it is to become
BECOMES = (("_imapuid", "/courierimapuiddb"), ("_imapsubscribe", "/courierimapsubscribed"),
           ("_uidvalidity", "/courierpy-uidvalidity"), ("_courierlock", "/courier\\.lock"),
           ("_keywords", "/:list"), ("_folder", "/(\\.Other)?\\.(Made|Late)"),
           (".host", "/courierimapkeywords/[^/:]+"))


def _log_names(path: str) -> list[str]:
    """Patterns of which a line of the log must have one, to name this file."""
    becomes = [name for mark, name in BECOMES if path.split("/")[-2:-1] == ["tmp"] and mark in path]
    return ["[/ ]" + re.escape(os.path.basename(path)), *becomes]


def _check_own_view(run: Run) -> None:
    if run.selected:
        run.check_view(run.actor, run.selected)


def _again(run: Run) -> None:
    """The same command when nothing disturbs it any more."""
    descriptors, full = run.actor.descriptors(), run.heard.full
    found = run.actor.do(run.operation.command)
    assert found[-1].startswith(b"t OK"), f"the second time it was answered {found[-1]!r}"
    run.heard = told(found, "ok")
    run.heard.full = full
    run._follow(run.operation.command)
    run.inspect(again=True)
    _check_own_view(run)
    # it may hear by now what the witness does, or what happens in the mailbox that it selects
    assert run.actor.descriptors() <= descriptors + 1


def kill_cases(calls: list[dict[str, Any]], operation: Operation) -> Iterator[Case]:
    """Before each call that changes something, in the middle of each write, and around the answer."""
    for call in calls:
        kind, number = call["kind"], call["number"]
        if kind in CHANGES:
            yield Case(operation, kind, number, "kill")
        if kind == "write":
            yield Case(operation, kind, number, "torn")
    yield Case(operation, "answer", 1, "kill")
    yield Case(operation, "answer", 1, "after")


def in_turn(errors: tuple[str, ...], turn: int) -> Iterator[str]:
    """Of twins one at a time."""
    left_out = set() if os.environ.get("COURIERPY_FAULTS") == "all" else {
        twins[turn % 2] for twins in TWINS if set(twins) <= set(errors)}
    return (error for error in errors if error not in left_out)


def error_cases(calls: list[dict[str, Any]], operation: Operation) -> Iterator[Case]:
    for call in calls:
        kind, number = call["kind"], call["number"]
        errors = list(in_turn(ERRORS.get(kind, ()), number + len(operation.name)))
        if kind in LOOKS and os.environ.get("COURIERPY_FAULTS") != "all":
            errors = [errors[number % len(errors)]]
        for error in errors:
            yield Case(operation, kind, number, error)


def lasting_cases(calls: list[dict[str, Any]], operation: Operation) -> Iterator[Case]:
    """Errors that stay until the command is answered."""
    for group, kinds in GROUPS.items():
        count = sum(1 for call in calls if call["kind"] in kinds)
        for first in range(1, count + 1):
            for error in in_turn(GROUP_ERRORS[group], first):
                yield Case(operation, group, first, error)


@contextmanager
def ground() -> Iterator[Ground]:
    # in memory, where there is such a place: thousands of accounts are copied
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="courierpy-faults-", dir=memory))
    made = Ground(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def main(names: list[str]) -> int:
    failed = 0
    with ground() as made:
        for name in names:
            try:
                reached = run_case(made, Case.parse(name))
                print(f"{name}: {'in order' if reached else 'the call was not reached'}")
            except Failed as error:
                failed += 1
                print(error)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
