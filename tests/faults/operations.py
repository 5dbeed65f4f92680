"""The commands that are disturbed, what each does to the account, and who judges the outcome."""
from __future__ import annotations

import re
from dataclasses import dataclass

from tests.faults.world import Box, Mail, World, append


@dataclass(frozen=True)
class Added:
    """A message more in ``box``.  ``source``: the UID it was copied from."""

    box: str
    mail: Mail
    source: int = 0


@dataclass(frozen=True)
class Replaced(Added):
    """A message more in ``box``, in the place of the message ``source`` of ``origin``."""

    origin: str = "INBOX"


@dataclass(frozen=True)
class Moved:
    box: str
    uid: int
    target: str


@dataclass(frozen=True)
class Changed:
    """Flags and keywords each change at once, but not together."""

    box: str
    uid: int
    flags: frozenset[str]


@dataclass(frozen=True)
class Gone:
    box: str
    uid: int


@dataclass(frozen=True)
class Created:
    box: str


@dataclass(frozen=True)
class Renamed:
    box: str
    target: str


@dataclass(frozen=True)
class Deleted:
    box: str


@dataclass(frozen=True)
class Subscribed:
    box: str
    wanted: bool


Effect = Added | Moved | Changed | Gone | Created | Renamed | Deleted | Subscribed


@dataclass(frozen=True)
class Operation:
    """``before``: commands that prepare it.  ``arrives``: a box that gets a message after
    those.  ``witness``: what a second session has open meanwhile."""

    name: str
    command: bytes
    effects: tuple[Effect, ...] = ()
    before: tuple[bytes, ...] = (b"SELECT INBOX",)
    arrives: str = ""
    witness: str = "INBOX"


def _mail(label: str, words: str = "") -> Mail:
    return Mail(label, frozenset(words.split()))


def _changed(*pairs: tuple[int, str]) -> tuple[Changed, ...]:
    return tuple(Changed("INBOX", uid, frozenset(words.split())) for uid, words in pairs)


def _copies(target: str) -> tuple[Added, ...]:
    return (Added(target, _mail("A1", r"\Seen \Flagged Alpha"), 2), Added(target, _mail("A2"), 3),
            Added(target, _mail("A5", "Alpha Beta"), 6))


def _moves(target: str) -> tuple[Moved, ...]:
    return tuple(Moved("INBOX", uid, target) for uid in (2, 3, 6))


def _replace(name: str, box: str) -> Operation:
    mail = _mail("N1", r"\Seen Alpha Omega")
    words = append(mail.label, " ".join(sorted(mail.flags)))
    return Operation(name, b"UID REPLACE 2 " + box.encode() + words, (Replaced(box, mail, 2),), witness=box)


def _append(name: str, box: str, *mails: Mail, before: tuple[bytes, ...] = (b"SELECT INBOX",)) -> Operation:
    words = [append(mail.label, " ".join(sorted(mail.flags))) for mail in mails]
    return Operation(name, b"APPEND " + box.encode() + b"".join(words),
                     tuple(Added(box, mail) for mail in mails), before,
                     witness=box if box == "INBOX" else "INBOX.Other")


OPERATIONS = (
    _append("append-selected", "INBOX", _mail("N1", r"\Seen Alpha Omega")),
    _append("append-unseen", "INBOX", _mail("N1")),
    _append("append-other", "INBOX.Other", _mail("N1", r"\Flagged Omega")),
    _append("append-fresh", "INBOX.Fresh", _mail("N1", r"\Seen Omega"), before=()),
    _append("append-arrivals", "INBOX.Arrivals", _mail("N1", r"\Draft")),
    _append("append-large", "INBOX.Other", _mail("L1", r"\Seen")),
    _append("append-multi", "INBOX.Other", _mail("N1", r"\Seen Alpha"), _mail("N2"),
            _mail("N3", r"\Draft Psi")),
    Operation("copy-other", b"UID COPY 2,3,6 INBOX.Other", _copies("INBOX.Other"), witness="INBOX.Other"),
    Operation("copy-fresh", b"UID COPY 2,3,6 INBOX.Fresh", _copies("INBOX.Fresh")),
    Operation("copy-self", b"UID COPY 2,3,6 INBOX", _copies("INBOX")),
    _replace("replace-selected", "INBOX"),
    _replace("replace-other", "INBOX.Other"),
    Operation("move-other", b"UID MOVE 2,3,6 INBOX.Other", _moves("INBOX.Other"), witness="INBOX.Other"),
    Operation("move-fresh", b"UID MOVE 2,3,6 INBOX.Fresh", _moves("INBOX.Fresh")),
    Operation("store-add", rb"STORE 1:3 +FLAGS (\Answered \Draft)", _changed(
        (2, r"\Seen \Flagged \Answered \Draft Alpha"), (3, r"\Answered \Draft"),
        (4, r"\Deleted \Answered \Draft Beta"))),
    Operation("store-remove", rb"STORE 1:4 -FLAGS (\Seen \Deleted)", _changed(
        (2, r"\Flagged Alpha"), (4, "Beta"), (5, ""))),
    Operation("store-replace", rb"STORE 1:3 FLAGS (\Draft Omega)", _changed(
        (2, r"\Draft Omega"), (3, r"\Draft Omega"), (4, r"\Draft Omega"))),
    # two of them have a file of keywords, and two are in the list
    Operation("store-keywords", rb"STORE 1:4 +FLAGS (Omega Beta)", _changed(
        (2, r"\Seen \Flagged Alpha Omega Beta"), (3, "Omega Beta"), (4, r"\Deleted Beta Omega"),
        (5, r"\Deleted \Seen Omega Beta"))),
    Operation("store-keywords-off", rb"STORE 1:5 -FLAGS (Alpha)", _changed(
        (2, r"\Seen \Flagged"), (6, "Beta"))),
    Operation("expunge", b"EXPUNGE", (Gone("INBOX", 4), Gone("INBOX", 5))),
    Operation("uid-expunge", b"UID EXPUNGE 4", (Gone("INBOX", 4),)),
    Operation("close", b"CLOSE", (Gone("INBOX", 4), Gone("INBOX", 5))),
    Operation("create", b"CREATE INBOX.Made", (Created("INBOX.Made"),), ()),
    Operation("create-below", b"CREATE INBOX.Other.Made", (Created("INBOX.Other.Made"),)),
    Operation("rename", b"RENAME INBOX.Old INBOX.Late", (
        Renamed("INBOX.Old", "INBOX.Late"), Renamed("INBOX.Old.Child", "INBOX.Late.Child"))),
    Operation("rename-inbox", b"RENAME INBOX INBOX.Late", (
        Created("INBOX.Late"), *(Moved("INBOX", uid, "INBOX.Late") for uid in (2, 3, 4, 5, 6))),
        (), witness="INBOX.Other"),
    Operation("delete", b"DELETE INBOX.Old", (Deleted("INBOX.Old"),)),
    Operation("subscribe", b"SUBSCRIBE INBOX.Old", (Subscribed("INBOX.Old", True),), ()),
    Operation("unsubscribe", b"UNSUBSCRIBE INBOX.Other", (Subscribed("INBOX.Other", False),), ()),
    Operation("select-arrivals", b"SELECT INBOX.Arrivals", witness="INBOX.Other", before=()),
    Operation("select-fresh", b"SELECT INBOX.Fresh", witness="INBOX.Other", before=()),
    Operation("status-fresh", b"STATUS INBOX.Fresh (MESSAGES UIDNEXT UIDVALIDITY)", before=(),
              witness="INBOX.Other"),
    Operation("noop", b"NOOP", arrives="INBOX"),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}


@dataclass
class Told:
    """What the answers to the disturbed command said."""

    verdict: str                        # "ok", "no" or "killed"
    uids: list[int]                     # of APPENDUID or COPYUID, in order
    sources: list[int]                  # of COPYUID
    uidvalidity: int = 0
    uidnext: int = 0
    full: bool = False                  # there was no room


def told(responses: list[bytes], verdict: str) -> Told:
    found = Told(verdict, [], [])
    for response in responses:
        if b"BODY[" in response:
            continue
        found.full = found.full or b"[OVERQUOTA]" in response
        match = re.search(rb"\[APPENDUID (\d+) ([\d:,]+)\]", response)
        if match is not None:
            found.uidvalidity, found.uids = int(match[1]), _numbers(match[2])
        match = re.search(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]", response)
        if match is not None:
            found.uidvalidity = int(match[1])
            found.sources, found.uids = _numbers(match[2]), _numbers(match[3])
        match = re.search(rb"UIDVALIDITY (\d+)", response)
        if match is not None:
            found.uidvalidity = int(match[1])
        match = re.search(rb"UIDNEXT (\d+)", response)
        if match is not None:
            found.uidnext = int(match[1])
    return found


def _numbers(words: bytes) -> list[int]:
    found: list[int] = []
    for part in words.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


class Judge:
    """May ``after`` follow ``before``?

    ``kept``: a NO must have left nothing.  False for a disk that takes nothing any more,
    where what was begun can neither be ended nor taken back: then the state is as after a kill.
    """

    def __init__(self, operation: Operation, before: World, after: World, heard: Told,
                 kept: bool = True) -> None:
        self.command = operation.command
        self.effects = operation.effects
        self.before = before
        self.after = after
        self.told = heard
        self.verdict = heard.verdict if heard.verdict != "no" or kept else "killed"
        # RFC 6851 3.3: each message is moved or not; on a full disk those go that need no room
        self.partly = self.verdict == "no" and heard.full and b" MOVE " in operation.command
        self.moving = {effect: 0 for effect in self.effects if isinstance(effect, Moved)}
        # RFC 8508 3.4: where a message is replaced, one of the two is there
        self.replacing = {effect: 2 for effect in self.effects if isinstance(effect, Replaced)}

    def may(self, happened: bool, what: str) -> None:
        """A step of the command may have happened, or must, or must not."""
        assert self.verdict == "killed" or happened == (self.verdict == "ok"), (
            f"the answer was {self.verdict.upper()}, but {what} is {'done' if happened else 'not done'}")

    def check(self) -> None:
        """Raises AssertionError."""
        self._subscriptions()
        seen = set()
        for name, box in self.before.boxes.items():
            now = self._where(name)
            seen.add(now)
            if now in self.after.boxes:
                self._box(name, box, self.after.boxes[now])
        for name, box in self.after.boxes.items():
            if name not in seen:
                assert Created(name) in self.effects, f"{name} came from nowhere"
                self.may(True, f"the creation of {name}")
                self._box(name, Box(0, 1, {}), box)
        for effect in self.effects:
            if isinstance(effect, Created):
                self.may(effect.box in self.after.boxes, f"the creation of {effect.box}")
        for moved, places in self.moving.items():
            assert places, f"{moved} is in no folder any more"
            assert places == 1 or self.verdict == "killed", f"{moved} is in two folders"
        for replaced, there in self.replacing.items():
            assert there, f"{replaced}: neither of the two is there"
        if self.verdict == "ok":
            self._numbers_told()

    def _subscriptions(self) -> None:
        expected = set(self.before.subscribed)
        for effect in self.effects:
            if isinstance(effect, Subscribed):
                self.may((effect.box in self.after.subscribed) == effect.wanted, str(effect))
                expected.discard(effect.box)
                if effect.box in self.after.subscribed:
                    expected.add(effect.box)
        assert self.after.subscribed == expected, f"subscribed: {self.after.subscribed}"

    def _where(self, name: str) -> str:
        """The name that this folder has now."""
        if Deleted(name) in self.effects:
            self.may(name not in self.after.boxes, f"the removal of {name}")
            return name
        for effect in self.effects:
            if isinstance(effect, Renamed) and effect.box == name:
                names = [place for place in (name, effect.target) if place in self.after.boxes]
                assert len(names) == 1, f"{name} is now {names}"
                self.may(names[0] == effect.target, str(effect))
                return names[0]
        assert name in self.after.boxes, f"{name} is gone"
        return name

    def _box(self, name: str, old: Box, new: Box) -> None:
        if old.uidvalidity:
            assert new.uidvalidity == old.uidvalidity, f"{name}: UIDVALIDITY {new.uidvalidity}"
        assert new.uidnext >= old.uidnext, f"{name}: UIDNEXT {new.uidnext} after {old.uidnext}"
        left = dict(new.mails)
        for uid, mail in old.mails.items():
            self._known(name, uid, mail, left.pop(uid, None))
        fresh = [uid for uid in left if uid < old.uidnext]
        assert not fresh, f"{name}: UIDs that were another message's or none: {fresh}"
        for label in old.arrived:
            uids = [uid for uid, mail in left.items() if mail == Mail(label)]
            assert len(uids) == 1, f"{name}: {label} had arrived and is there {len(uids)} times"
            del left[uids[0]]
        self._new(name, left)

    def _known(self, name: str, uid: int, mail: Mail, now: Mail | None) -> None:
        """A message that was there before."""
        for effect in self.effects:
            if effect == Gone(name, uid):
                # what is removed cannot be brought back: a NO may have removed some
                assert self.verdict != "ok" or now is None, f"{effect} was answered OK and is not done"
                if now is None:
                    return
            if isinstance(effect, Moved) and (effect.box, effect.uid) == (name, uid):
                if now is not None:
                    self.moving[effect] += 1
                if self.verdict == "ok":
                    assert now is None, f"{effect} was answered OK, but it is still there"
                if now is None and (self.verdict != "no" or self.partly):
                    return
            if isinstance(effect, Replaced) and (effect.origin, effect.source) == (name, uid):
                self.may(now is None, f"the removal of UID {uid} for {effect}")
                if now is None:
                    self.replacing[effect] -= 1
                    return
            if isinstance(effect, Changed) and (effect.box, effect.uid) == (name, uid):
                assert now is not None and now.label == mail.label, f"{name}: UID {uid} is {now}, was {mail}"
                self._flags(effect, mail.flags, now.flags)
                return
        assert now == mail, f"{name}: UID {uid} is {now}, was {mail}"

    def _flags(self, effect: Changed, old: frozenset[str], now: frozenset[str]) -> None:
        for what, system in (("flags", True), ("keywords", False)):
            was, wanted, have = ({word for word in words if word.startswith("\\") == system}
                                 for words in (old, effect.flags, now))
            if was != wanted:
                self.may(have == wanted, f"{effect} ({what} {sorted(have)})")
            assert have in (was, wanted), f"{effect.box}: UID {effect.uid} has {what} {sorted(have)}"

    def _new(self, name: str, left: dict[int, Mail]) -> None:
        """What is in the folder beyond what was there: only what the command brings, each once."""
        for effect in self.effects:
            if isinstance(effect, Added) and effect.box == name:
                mail = effect.mail
            elif isinstance(effect, Moved) and effect.target == name:
                mail = self.before.boxes[effect.box].mails[effect.uid]
            else:
                continue
            uid = next((uid for uid, other in sorted(left.items()) if other == mail), 0)
            if not (self.partly and isinstance(effect, Moved)):
                self.may(bool(uid), str(effect))
            if uid:
                if isinstance(effect, Moved):
                    self.moving[effect] += 1
                del left[uid]
            elif isinstance(effect, Replaced):
                self.replacing[effect] -= 1
        assert not left, f"{name}: nobody brought {', '.join(f'{uid}:{mail}' for uid, mail in left.items())}"

    def _numbers_told(self) -> None:
        words = self.command.split()
        if words[0] in (b"SELECT", b"STATUS"):
            box = self.after.boxes[words[1].decode()]
            # where nobody had numbered it and the disk takes no numbers, they are good for that session alone
            numbered = self.before.boxes[words[1].decode()].uidvalidity
            assert not numbered or self.told.uidvalidity == box.uidvalidity, (
                f"told UIDVALIDITY {self.told.uidvalidity}")
            # mail that could not be taken out of new/ may get its number later
            assert 0 < self.told.uidnext <= box.uidnext, f"told UIDNEXT {self.told.uidnext}"
        if words[0] != b"APPEND" and words[1:2] not in ([b"COPY"], [b"MOVE"], [b"REPLACE"]):
            return
        brought = [effect for effect in self.effects if isinstance(effect, Added | Moved)]
        if self.told.full and words[1] == b"MOVE":      # some went the first time
            brought = [effect for effect in brought if getattr(effect, "uid", 0) in self.told.sources]
        box = self.after.boxes[getattr(brought[0], "target", brought[0].box)]
        assert self.told.uidvalidity == box.uidvalidity, f"told UIDVALIDITY {self.told.uidvalidity}"
        wanted = [effect.mail if isinstance(effect, Added)
                  else self.before.boxes[effect.box].mails[effect.uid] for effect in brought]
        have = [box.mails.get(uid) for uid in self.told.uids]
        assert have == wanted, f"told UIDs {self.told.uids}, which are {', '.join(map(str, have))}"
        sources = [effect.source if isinstance(effect, Added) else effect.uid for effect in brought]
        if words[1] in (b"COPY", b"MOVE"):
            assert self.told.sources == sources, f"told sources {self.told.sources}"
