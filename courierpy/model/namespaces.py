"""Names of mailboxes: which namespace one is of, and its path there.  RFC 2342, RFC 9051 5.1.

The one place that knows how INBOX and the namespaces of shared mailboxes are called.
A *name* is what clients say, a *path* what stands behind the namespace's prefix: levels
with separators between, and "" for INBOX, which is of no prefix.
"""
from __future__ import annotations

INBOX = "INBOX"
# Courier's: mailboxes of others, by the index of the host (virtual) and by the links in the Maildir
SHARED_PREFIXES = ("#shared.", "shared.")
KNOWN_NAMES, KNOWN_LETTERS = 1000, 255 # that are remembered, and how long they are at most
PERSONAL, OTHERS, SHARED = range(3)    # in the order of NAMESPACE: RFC 2342 5


def folded(name: str, separator: str, wildcards: str = "") -> str:
    """``name``; where its first level is INBOX in any case, that is in upper case.  ``wildcards``: of a
    pattern, they end a level too.  RFC 9051 5.1."""
    if name.startswith(INBOX):
        return name                    # mostly
    if name[:5].upper() == INBOX and (len(name) == 5 or name[5] in separator + wildcards):
        return INBOX + name[5:]
    return name


class Namespace:
    """Mailboxes whose names begin alike.

    ``kind``: PERSONAL, OTHERS or SHARED.  ``prefix``, ``separator``: of the names.  ``root``: the Maildir
    that has them, None where there is none.  ``rights``: letters of RFC 4314 2.1 that the user has at most.
    ``inbox``: the name of the mailbox at the path "", None where there is none.
    """

    __slots__ = ("inbox", "kind", "prefix", "rights", "root", "separator")

    def __init__(self, kind: int, prefix: str, separator: str, root: str | None = None,
                 rights: frozenset[str] = frozenset(), inbox: str | None = None) -> None:
        self.kind = kind
        self.prefix = prefix
        self.separator = separator
        self.root = root
        self.rights = rights
        self.inbox = INBOX if kind == PERSONAL else inbox

    def path(self, name: str) -> str | None:
        """The path of the mailbox of that name; None where it is of another namespace, or of none."""
        if name == self.inbox:
            return ""
        if not name.startswith(self.prefix):
            return None
        return name[len(self.prefix):] or None

    def name(self, path: str) -> str:
        """The name of the mailbox at ``path``."""
        return self.prefix + path if path else self.inbox or self.prefix[:-1]

    def __repr__(self) -> str:
        return f"Namespace({self.kind}, {self.prefix!r}, {self.separator!r}, {self.root!r})"


class Namespaces:
    """All that a client can name, in the order in which NAMESPACE tells them.

    Two may be PERSONAL: the mailboxes of the first (``personal``) are then those of the other (``alias``)
    too, under other names.  What could be of another namespace under its first name has only the
    second.
    """

    __slots__ = ("_found", "_in_turn", "alias", "all", "personal")

    def __init__(self, personal: Namespace, *others: Namespace) -> None:
        self.personal = personal
        self.all = (personal, *others)
        self.alias = next((one for one in others if one.kind == PERSONAL), None)
        self._found: dict[str, tuple[Namespace, str]] = {}     # by name
        # the longest prefix counts; where none is longer than theirs, the user's own come first
        self._in_turn = sorted(self.all, key=lambda one: -len(one.prefix))
        if sum([one.prefix.startswith(personal.prefix) for one in self.all]) == 1:
            self._in_turn.sort(key=lambda one: one is not personal)

    def find(self, name: str) -> tuple[Namespace, str] | None:
        """(namespace, path) of the mailbox of that name, None where no mailbox can be called so."""
        found = self._found.get(name)
        if found is not None:
            return found
        for namespace in self._in_turn:
            path = namespace.path(name)
            if path is not None:
                if len(self._found) >= KNOWN_NAMES:
                    self._found.clear()
                if len(name) <= KNOWN_LETTERS:
                    self._found[name] = namespace, path
                return namespace, path
        return None

    def name(self, path: str) -> str:
        """The name of the user's own mailbox at ``path``."""
        name = self.personal.name(path)
        if self.alias is not None and path:
            found = self.find(folded(name, self.personal.separator))
            if found is None or found[0] is not self.personal:
                return self.alias.name(path)
        return name

    def canonical(self, name: str) -> str:
        """The first name of the mailbox that ``name`` names."""
        found = self.find(name) if self.alias is not None else None
        return self.name(found[1]) if found is not None and found[0].kind == PERSONAL else name

    def aliased(self, name: str) -> str:
        """Its second name."""
        found = self.find(name) if self.alias is not None else None
        return self.alias.name(found[1]) if self.alias is not None and found is not None \
            and found[0].kind == PERSONAL else name

    def of_alias(self, word: str) -> bool:
        """Does this name or pattern begin as those of the second namespace do?"""
        if self.alias is None:
            return False
        word = folded(word, self.alias.separator, "*%")
        prefix = self.alias.prefix
        return word.startswith(prefix) or word[:-1] == prefix[:-1] and word[-1:] in ("*", "%")

    def of_kind(self, kind: int) -> list[Namespace]:
        return [namespace for namespace in self.all if namespace.kind == kind]
