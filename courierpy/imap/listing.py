"""What LIST tells, entry by entry.  RFC 9051 6.3.9, RFC 5258.

A ``Listing`` is one command: the names that there are, and what may be told of each.
Options of extensions change it (they select entries, add attributes, data, or lines
behind an entry) before it is told.
"""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.pattern import Pattern
from courierpy.maildir.errors import StoreError
from courierpy.model.namespaces import INBOX, SHARED_PREFIXES
from courierpy.model.replies import Bad
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from courierpy.imap.session import Session

    Matches = Callable[[str], bool]


AT_ONCE = 64                       # entries, whose lines go out together
MAX_PATTERNS = 100                 # with wildcards, of one LIST


class Entry:
    """A name that LIST may tell.  ``exists``: it is a mailbox.  ``children``: there are mailboxes below
    it.  ``selected``: it is what the selection options ask for.  ``opens``: False once it was tried and
    could not be opened.  ``old``: the name that it had before, or by which the client called it.
    ``remote``: it is at another server.  ``spelled``: the name as it is told, b"" as long as nobody asked."""

    __slots__ = ("children", "exists", "name", "old", "opens", "remote", "selected", "spelled")

    def __init__(self, name: str, exists: bool, children: bool) -> None:
        self.name = name
        self.exists = exists
        self.children = children
        self.selected = True
        self.opens = True
        self.old: str | None = None
        self.remote = False
        self.spelled = b""

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, exists={self.exists}, children={self.children})"


class Listing:
    """One LIST.  ``extended``: the client used a form of RFC 5258.

    ``others``: which of those that others share are listed too, see Store.shared_names().  ``by_alias``:
    mailboxes that have two names are told by the second, as the pattern has it.
    What options change: ``criteria``: option -> function (Entry), which must be true of all that are told
    (RFC 5258 3.1).  ``names``: names that may be told though there are no such mailboxes.  ``recursive``:
    a name is told too if one below it is selected and not told itself.  ``attributes``: word -> function
    (Entry) giving attributes, b"" for none.  ``besides``: word -> function (Entry) giving what stands in the
    parentheses at the end of the line, b"" for nothing (RFC 5258 6).  ``behind``: word -> function (Entry)
    giving whole lines, which follow those of a mailbox that is here and selected.
    """

    def __init__(self, session: Session, word: bytes = b"LIST", extended: bool = False) -> None:
        self.session = session
        self.word = word
        self.extended = extended
        self.criteria: dict[bytes, Callable[[Entry], bool]] = {}
        self.names: list[str] = []
        self.recursive = False
        self.attributes: dict[bytes, Callable[[Entry], bytes]] = {}
        self.besides: dict[bytes, Callable[[Entry], bytes]] = {}
        self.behind: dict[bytes, Callable[[Entry], bytes]] = {}
        self.by_alias = session.by_alias
        self.others: tuple[bool, ...] = ()
        self._there: list[str] | None = None
        self._remote: frozenset[str] = frozenset()

    @property
    def there(self) -> list[str]:
        """The names of all mailboxes, INBOX first."""
        if self._there is None:
            self._there = self.spelled(self.session.folders.names())
            for virtual in self.others:
                self._there += self.session.folders.shared_names(virtual)
        return self._there

    def add_remote(self) -> None:
        """Tell mailboxes of other servers too, where the names begin as the pattern wants it.  RFC 2193 5.1,
        RFC 5258 3.1."""
        self._remote = frozenset(name for name in remote(self.session)
                                 if True in self.others or not name.startswith(SHARED_PREFIXES[0]))
        self.there.extend(sorted(self._remote))

    def spelled(self, names: list[str]) -> list[str]:
        """Names of mailboxes as this LIST tells them."""
        return list(map(self.session.folders.namespaces.aliased, names)) if self.by_alias else names

    def entries(self) -> list[Entry]:
        """Mailboxes, INBOX first; then levels above them that are none; then other names."""
        separator = self.session.separator
        there = self.there
        parents = parents_of(there, separator)
        parents.discard(SHARED_PREFIXES[0][:-1])       # a namespace, no level
        real = set(there)
        found = [Entry(name, True, name in parents) for name in there]
        for entry in found if self._remote else ():
            entry.remote = entry.name in self._remote
        found += [Entry(name, False, True) for name in deepest_first(parents - real, separator)]
        if self.names:
            known = real | parents
            more = [name for name in dict.fromkeys(self.names) if name not in known]
            known.update(more)
            above = parents_of(more, separator) - known
            found += [Entry(name, False, False) for name in [*more, *deepest_first(above, separator)]]
        for entry in found if self.criteria else ():
            entry.selected = all(test(entry) for test in self.criteria.values())
        return found

    def tell(self, matches: Matches, by_wildcard: Matches | None = None) -> None:
        """Tells the client the entries whose names match and that are selected.  Raises Bad for
        options that do not go together.

        ``by_wildcard``: does a name match by a wildcard?  With it, a level that is no mailbox is told only
        then, or where an option selects it (RFC 5258 3) or has to say something about it."""
        if self.recursive and not self.criteria:
            raise Bad("RECURSIVEMATCH needs another selection option.")        # RFC 5258 3.1

        if self.criteria or self.besides:
            by_wildcard = None
        entries = self.entries()
        below, hidden = self._with_selected_below(entries, matches) if self.recursive else ((), ())
        more = tuple(self.behind.values())
        line, write, utf8 = self.line(), self.session.write, self.session.utf8
        told: list[bytes] = []
        for entry in entries:
            name = entry.name
            if not matches(name) or not entry.selected and name not in hidden:
                continue
            if not entry.exists and by_wildcard is not None and not by_wildcard(name):
                continue
            # asked for first: what becomes of the mailbox meanwhile shows in its line
            behind = b""
            if more and entry.selected and entry.exists and not entry.remote:
                entry.spelled = out.mailbox(name, utf8)
                for also in more:
                    try:
                        behind += also(entry)
                    except StoreError as error:
                        log.err(str(error))    # the others are told
            told.append(line(entry, name in below) + behind)
            if len(told) == AT_ONCE:
                write(b"".join(told))
                told.clear()
        write(b"".join(told))

    def _with_selected_below(self, entries: Iterable[Entry], matches: Matches) -> tuple[set[str], set[str]]:
        """Names below which there is one that is selected, and those where such a one does not match
        the pattern.  RFC 5258 3.3, 3.5."""
        separator = self.session.separator
        chosen = [entry.name for entry in entries if entry.selected]
        return (parents_of(chosen, separator),
                parents_of([name for name in chosen if not matches(name)], separator))

    def line(self) -> Callable[[Entry, bool], bytes]:
        """What makes the line of an entry: (it, is one below it selected)."""
        session, word, extended = self.session, self.word, self.extended
        obsolete = session.settings.flag("IMAP_OBSOLETE_CLIENT") and not extended
        check_all = session.settings.flag("IMAP_CHECK_ALL_FOLDERS")
        utf8 = session.utf8
        separator = b'"%s"' % session.separator.encode()
        absent = b"\\NonExistent " if extended else b"\\Noselect "
        info = b""
        if self.recursive:
            words = b" ".join([out.quoted(option) for option in self.criteria])
            info = b'"CHILDINFO" (%s)' % words
        attributes = [*self.attributes.values()]
        besides = [*self.besides.values()]
        marks = word != b"LSUB"

        def line(entry: Entry, below: bool = False) -> bytes:
            if not obsolete:
                flags = b"\\HasChildren" if entry.children else b"\\HasNoChildren"
            else:
                flags = b"\\Noinferiors" if entry.exists and not entry.children else b""
            if not entry.exists:
                flags = absent + flags
            elif not entry.opens:
                flags = b"\\Noselect " + flags
            elif entry.remote:
                flags = b"\\Remote " * extended + flags   # RFC 9051 7.3.1
            elif marks and (check_all or entry.name == INBOX):
                flags = (b"\\Marked " if session.folders.marked(entry.name) else b"\\Unmarked ") + flags
            for more in attributes:
                told = more(entry)
                if told:
                    flags += b" " + told
            flags = b"(%s)" % (flags.strip() if obsolete else flags)
            name = entry.spelled or out.mailbox(entry.name, utf8)
            if not below and entry.old is None and not besides:        # mostly
                return lines.data(word, flags, separator, name)
            items = [info] if below and info else []
            if entry.old is not None:              # RFC 9051 6.3.9.7
                items.append(b'"OLDNAME" (%s)' % out.mailbox(entry.old, utf8))
            items += filter(None, [b"".join([more(entry) for more in besides])])
            return lines.data(word, flags, separator, name, *([b"(%s)" % b" ".join(items)] if items else []))
        return line


# -- names

def remote(session: Session) -> list[str]:
    """The mailboxes of other servers."""
    find = ext.find("remote", b"") if session.settings.text("IMAP_REMOTE_MAILBOXES") else None
    found: list[str] = find(session) if find is not None else []
    return found


def parents_of(names: Iterable[str], separator: str) -> set[str]:
    """Every level above a mailbox of ``names``."""
    found: set[str] = set()
    for name in names:
        parent = name.rpartition(separator)[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(separator)[0]
    return found


def deepest_first(names: Collection[str], separator: str) -> list[str]:
    """By levels, those with the most first, then by name."""
    return sorted(names, key=lambda name: (-name.count(separator), name))


def wanted(reference: str, patterns: Iterable[str], separator: str, by_name: bool = True) -> Matches:
    """Does a name match one of the patterns?  However many of them are names: those are looked up, or
    match nothing unless ``by_name``.
    Raises Bad for too many others, each of which is tried on every name."""
    names: set[str] = set()
    tests: list[Matches] = []
    for pattern in dict.fromkeys(patterns):
        if "*" in reference + pattern or "%" in reference + pattern:
            tests.append(_matches(reference, pattern, separator))
        elif by_name:
            names.add(_joined(reference, pattern, separator).text)
    if len(tests) > MAX_PATTERNS:
        raise Bad("Too many patterns.")
    if not names and len(tests) == 1:
        return tests[0]
    return lambda name: name in names or any(test(name) for test in tests)


def _joined(reference: str, pattern: str, separator: str) -> Pattern:
    if not reference or reference.endswith(separator):
        return Pattern(reference + pattern, separator)
    return Pattern(reference + separator + pattern, separator)


def _matches(reference: str, pattern: str, separator: str) -> Matches:
    """Reference and pattern joined, as Courier does, by the separator; ``*`` is all
    that begins with the reference, and so the mailbox of that name too."""
    inner = _joined(reference, pattern, separator)
    if not reference or reference.endswith(separator) or inner.text[len(reference):] != f"{separator}*":
        return inner.matches
    own = inner.text.removesuffix(f"{separator}*")
    return lambda name: name == own or inner.matches(name)
