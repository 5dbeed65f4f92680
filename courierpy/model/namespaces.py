"""Names of mailboxes: which namespace one is of, and its path there.  RFC 2342, RFC 9051 5.1.

The one place that knows how INBOX and the namespaces of shared mailboxes are called.
A *name* is what clients say, a *path* what stands behind the namespace's prefix: levels
with separators between, and "" for INBOX, which is of no prefix.
"""
from __future__ import annotations

INBOX = "INBOX"
# Courier's: mailboxes of others, by the index of the host (virtual) and by the links in the Maildir
SHARED_PREFIXES = ("#shared.", "shared.")
PERSONAL, OTHERS, SHARED = range(3)    # in the order of NAMESPACE: RFC 2342 5
ALL_RIGHTS = frozenset("lrswipkxtea")  # of who owns a mailbox: RFC 4314 2.1


def folded(name: str, separator: str, wildcards: str = "") -> str:
    """``name``; where its first level is INBOX in any case, that is in upper case.  ``wildcards``: of a
    pattern, they end a level too.  RFC 9051 5.1."""
    if name[:5].upper() == INBOX and (len(name) == 5 or name[5] in separator + wildcards):
        return INBOX + name[5:]
    return name


class Namespace:
    """Mailboxes whose names begin alike.

    ``kind``: PERSONAL, OTHERS or SHARED.  ``prefix``, ``separator``: of the names.  ``root``: the Maildir
    that has them, None where there is none.  ``rights``: letters of RFC 4314 2.1 that the user has at most.
    """

    __slots__ = ("kind", "prefix", "rights", "root", "separator")

    def __init__(self, kind: int, prefix: str, separator: str, root: str | None = None,
                 rights: frozenset[str] = frozenset()) -> None:
        self.kind = kind
        self.prefix = prefix
        self.separator = separator
        self.root = root
        self.rights = rights

    def path(self, name: str) -> str | None:
        """The path of the mailbox of that name; None where it is of another namespace, or of none."""
        if name == INBOX and self.kind == PERSONAL:
            return ""
        if not name.startswith(self.prefix):
            return None
        return name[len(self.prefix):] or None

    def name(self, path: str) -> str:
        """The name of the mailbox at ``path``."""
        return self.prefix + path if path else INBOX

    def __repr__(self) -> str:
        return f"Namespace({self.kind}, {self.prefix!r}, {self.separator!r}, {self.root!r})"


class Namespaces:
    """All that a client can name, in the order in which NAMESPACE tells them."""

    __slots__ = ("all", "personal")

    def __init__(self, personal: Namespace, *others: Namespace) -> None:
        self.personal = personal
        self.all = (personal, *others)

    def find(self, name: str) -> tuple[Namespace, str] | None:
        """(namespace, path) of the mailbox of that name, None where no mailbox can be called so."""
        for namespace in self.all:
            path = namespace.path(name)
            if path is not None:
                return namespace, path
        return None

    def of_kind(self, kind: int) -> list[Namespace]:
        return [namespace for namespace in self.all if namespace.kind == kind]
