"""``courierimapacl``: who may do what with a mailbox, as Courier keeps it.  RFC 4314 in Courier's letters.

A line for each identifier: it, a blank, its rights in alphabetical order, ``c`` for the ``k`` of
RFC 4314.  With a hyphen before it, it takes rights away.  ``owner``, ``anyone``, ``anonymous``,
``administrators``, ``user=...``, ``group=...`` are what programs know; others are kept as they are,
and so are letters that nobody knows.
"""
from __future__ import annotations

from courierpy.model.rights import ALL_RIGHTS, OWNER_RIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

OWNER, ANYONE, ANONYMOUS, ADMINISTRATORS = "owner", "anyone", "anonymous", "administrators"
RESERVED = (OWNER, ANYONE, ANONYMOUS, ADMINISTRATORS)
USER, GROUP = "user=", "group="
EVERYBODY = frozenset((ANYONE, ANONYMOUS))
MIGHTY = frozenset((ADMINISTRATORS, GROUP + ADMINISTRATORS))       # they are given all, whatever a list says
KEPT = frozenset("la")                 # of the owner, whatever a list says
MAX_IDENTIFIER_OCTETS = 255
MAX_ENTRIES = 1000
_ON_DISK = {"k": "c"}
_IN_MEMORY = {letter: right for right, letter in _ON_DISK.items()}


class LockedOut(ValueError):
    """A list by which the owner or the administrators could mend it no more; str() is their identifier."""


def rights_of(letters: str) -> frozenset[str]:
    """Of letters as the file has them.  Raises ValueError for one that nobody knows."""
    found = frozenset(_IN_MEMORY.get(letter, letter) for letter in letters)
    if not found <= ALL_RIGHTS:
        raise ValueError(letters)
    return found


def letters(rights: Iterable[str]) -> str:
    """Rights as the file has them."""
    return "".join(sorted(_ON_DISK.get(right, right) for right in rights))


class AccessList:
    """Identifiers and their rights, letters of RFC 4314 2.1.  Never changed; compared by what it says."""

    __slots__ = ("entries",)

    def __init__(self, entries: Mapping[str, frozenset[str]]) -> None:
        self.entries = entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessList) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(frozenset(self.entries.items()))

    def __repr__(self) -> str:
        return f"AccessList({self.entries!r})"

    @classmethod
    def parse(cls, data: bytes) -> AccessList:
        """What is no line of a list is passed over.  Administrators are in each, whatever it says, as Courier
        has it."""
        entries: dict[str, frozenset[str]] = {}
        for line in data.decode("utf-8", "surrogateescape").split("\n"):
            identifier, _, letters = line.partition(" ")
            if identifier and letters:
                found = frozenset(_IN_MEMORY.get(letter, letter) for letter in letters if letter > " ")
                entries[identifier] = entries.get(identifier, frozenset()) | found
        entries.setdefault(ADMINISTRATORS, OWNER_RIGHTS)
        for mighty in MIGHTY:
            if mighty in entries:
                entries[mighty] = OWNER_RIGHTS | entries[mighty]
            entries.pop(f"-{mighty}", None)
        return cls(entries)

    def spelled(self) -> bytes:
        """As the file has it."""
        lines = [f"{identifier} {letters(rights)}\n"
                 for identifier, rights in self.entries.items()]
        return "".join(lines).encode("utf-8", "surrogateescape")

    def rights(self, identities: Collection[str]) -> frozenset[str]:
        """Of who is all of these: what they are given together, without what is taken from any of them.
        Courier's ACL2=UNION."""
        found = self._given(identities)
        return (found | KEPT if OWNER in identities else found) & ALL_RIGHTS

    def _given(self, identities: Collection[str]) -> frozenset[str]:
        none = frozenset[str]()
        given, taken = none if MIGHTY.isdisjoint(identities) else OWNER_RIGHTS, none
        for identity in identities:
            given |= self.entries.get(identity, none)
            taken |= self.entries.get(f"-{identity}", none)
        return given - taken

    def changed(self, identifier: str, mode: str, rights: Iterable[str]) -> AccessList:
        """``mode``: "=" these are its rights, "+" these too, "-" these no more.  Without any it is no entry.
        RFC 4314 3.1."""
        before = self.entries.get(identifier, frozenset())
        after = {"=": frozenset(rights), "+": before.union(rights), "-": before.difference(rights)}[mode]
        entries = {**self.entries, identifier: after}
        if not after:
            del entries[identifier]
        return AccessList(entries)

    def check(self, owner: Collection[str] = ()) -> None:
        """Raises LockedOut for what must not be written, as Courier does.  ``owner``: what the owner is here
        beside that, as lists have it."""
        for identities in ({OWNER}, *({OWNER, one} for one in owner)):
            if not KEPT.issubset(self._given(identities | EVERYBODY)):
                raise LockedOut(max(identities))       # "user=" stands behind "owner"
        for mighty in MIGHTY:
            given = self.entries.get(mighty, frozenset() if mighty == ADMINISTRATORS else OWNER_RIGHTS)
            if not given >= OWNER_RIGHTS or not self._given({mighty, *EVERYBODY}) >= OWNER_RIGHTS:
                raise LockedOut(mighty)


# of a mailbox that has no list, and none above
DEFAULT = AccessList({OWNER: OWNER_RIGHTS, ADMINISTRATORS: OWNER_RIGHTS})


def identifier(word: str) -> str:
    """What a client means by an identifier, as it stands in the file: a bare name is that of a user.
    Raises ValueError for what can be none."""
    negative = "-" if word.startswith("-") else ""
    bare = word.removeprefix("-")
    if not bare or not all(char.isprintable() and not char.isspace() for char in bare):
        raise ValueError(word)
    if bare not in RESERVED and not any(bare.startswith(kind) and bare != kind for kind in (USER, GROUP)):
        if "=" in bare:
            raise ValueError(word)
        bare = USER + bare
    if len((negative + bare).encode()) > MAX_IDENTIFIER_OCTETS:
        raise ValueError(word)
    return negative + bare


def told(entry: str) -> str | None:
    """The identifier by which a client can name this entry; None where there is none."""
    negative = "-" if entry.startswith("-") else ""
    for word in (negative + entry.removeprefix("-").removeprefix(USER), entry):
        try:
            if identifier(word) == entry:
                return word
        except ValueError:
            continue
    return None
