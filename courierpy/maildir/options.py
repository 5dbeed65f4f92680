"""What the settings say of all mailboxes of a store, and what of a mailbox follows from that alone."""
from __future__ import annotations

from courierpy.maildir import names
from courierpy.maildir.bounds import Bounds
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.index.columns import Index, place
from courierpy.system import concluded, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from courierpy.maildir.keptfile import KeptFile
    from courierpy.maildir.keptnumbers import KeptNumbers
    from courierpy.maildir.layout import Layout
    from courierpy.maildir.quota import Quota
    from courierpy.system.settings import Settings


def fsync(word: str) -> str:
    """What IMAP_FSYNC says, see StoreOptions."""
    word = {"0": "never", "1": "optimized", "": "optimized"}.get(word, word)
    if word not in ("never", "optimized", "always"):
        log.warn(f"IMAP_FSYNC: never, optimized or always is expected, not {word}")
        return "optimized"
    return word


def of_all(settings: Settings, host: str | None) -> dict[str, Any]:
    """What the settings say of any Maildir that is opened: arguments of Store."""
    return {**concluded.of(settings, _of_any), "host": host, "bounds": Bounds.of(settings)}


def _of_any(settings: Settings) -> dict[str, Any]:
    locks = settings.text("IMAP_USELOCKS")
    return {"locks": not locks or locks.startswith("1"), "keywords": settings.number("IMAP_KEYWORDS") != 0,
            "trash": settings.text("IMAP_TRASHFOLDERNAME") or "Trash",
            "fsync": fsync(settings.text("IMAP_FSYNC").lower()),
            "index_at": settings.text("IMAP_INDEXDIR"), "read_only": settings.flag("IMAP_READONLY"),
            "keeps_expunged": settings.flag("IMAP_EXPUNGE_KEEP")}


def of_own(settings: Settings) -> dict[str, Any]:
    """Arguments of Store for the user's own Maildir, beside those."""
    return {"no_prefix": settings.flag("IMAP_NO_PREFIX"),
            "choice": settings.text("IMAP_LAYOUT").lower() or "auto",
            "ignores_quota": settings.flag("IMAP_IGNORE_QUOTA")}


class StoreOptions:
    """What the settings say of all mailboxes of a Maildir.

    ``host``: as it stands in names of files.  ``locks``: is a mailbox locked by a file, as
    Courier does?  ``fsync``: "never", "optimized" or "always".  ``sync``: what an OK promises is on the
    disk before it; ``sync_all``: flags and keywords too.  ``index_at``: a directory for what can be
    derived, outside the Maildir; "": in each mailbox.  ``read_only``: nothing is written.  ``quota``: of the
    Maildir, see Store.quota().  ``keeps_expunged``: are messages kept that are expunged (graveyard.py)?
    ``kept_file``, ``kept_numbers``: of a session that has brought messages, until its end(); None of
    others."""

    __slots__ = ("bounds", "graveyard_name", "host", "index_at", "index_name", "keeps_expunged",
                 "kept_file", "kept_numbers", "keyword_directory", "keywords", "keywords_name", "locks",
                 "quota", "read_only", "sync", "sync_all")

    def __init__(self, layout: Layout, *, locks: bool = True, keywords: bool = True,
                 fsync: str = "optimized", host: str | None = None, index_at: str = "",
                 bounds: Bounds | None = None, read_only: bool = False, keeps_expunged: bool = False) -> None:
        self.host = names.host_name(host)
        self.locks = locks
        self.read_only = read_only
        self.quota: Quota | None = None
        self.kept_file: KeptFile | None = None
        self.kept_numbers: KeptNumbers | None = None
        self.keywords = keywords
        self.sync = fsync != "never"
        self.sync_all = fsync == "always"
        self.index_at = index_at
        self.bounds = bounds or Bounds()
        self.index_name = layout.index
        self.graveyard_name = layout.graveyard
        self.keeps_expunged = keeps_expunged
        self.keywords_name = layout.keywords
        # below that of a mailbox; "" where keywords are off
        self.keyword_directory = layout.keywords if keywords else ""

    def forget(self) -> None:
        """Another session begins."""
        self.end()
        self.quota = None
        self.bounds.forget()

    def index(self, path: str) -> Index:
        """What is derived from the mailbox at ``path``."""
        return Index(path, self.host, place(path, self.index_at), self.index_name)

    def keywords_of(self, path: str) -> Keywords:
        """The keywords in the mailbox at ``path``, also where they are off."""
        return Keywords(path, self.host, self.sync_all, self.keywords_name)

    def keep_file(self) -> None:
        """A session brings messages, and will say its end()."""
        if self.kept_file is None:
            from courierpy.maildir.keptfile import KeptFile  # many sessions only read
            self.kept_file = KeptFile(self.host)
        if self.kept_numbers is None and self.sync:
            from courierpy.maildir.keptnumbers import KeptNumbers  # as above
            self.kept_numbers = KeptNumbers(self.host)

    @property
    def busy(self) -> bool:
        """Is there memory that rest() gives back?"""
        return self.kept_numbers is not None and self.kept_numbers.busy

    def rest(self) -> None:
        """Nothing happens for a while: what can be had again goes."""
        if self.kept_numbers is not None:
            self.kept_numbers.forget()

    def end(self) -> None:
        """The session ends, or sleeps, or gives mailboxes other names."""
        if self.kept_file is not None:
            self.kept_file.remove()
            self.kept_file = None
        if self.kept_numbers is not None:
            self.kept_numbers.forget()
            self.kept_numbers = None
