"""Which mailboxes of a Maildir are subscribed to: Courier's list, or what Dovecot left.  ref 6.6."""
from __future__ import annotations

import os

from courierpy.maildir import names
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import Directory, content, replace
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.maildir.layout import Layout
    from courierpy.maildir.options import StoreOptions
    from courierpy.model.namespaces import Namespaces

FILE = "courierimapsubscribed"


class Subscriptions:
    """Those of the Maildir at ``root``."""

    def __init__(self, root: str, layout: Layout, namespaces: Namespaces, options: StoreOptions) -> None:
        self.root = root
        self._layout = layout
        self._namespaces = namespaces
        self._options = options

    def names(self) -> list[str]:
        """In the order in which they came.  Raises a store error."""
        data = content(os.path.join(self.root, FILE))
        if data is None:
            return self.by_dovecot() or []
        return [self._namespaces.canonical(names.shown(line)) for line in data.split(b"\n") if line]

    def by_dovecot(self) -> list[str] | None:
        """None when Dovecot left no list."""
        from courierpy.maildir.formats import dovecot  # few Maildirs were its
        if isinstance(self._layout, MaildirPlusPlus):
            paths = dovecot.subscriptions(self.root)
        else:
            rows = dovecot.subscribed_levels(self.root)
            paths = None if rows is None else self._layout.named(rows)
        return None if paths is None else list(map(self._namespaces.name, paths))

    def change(self, mailboxes: Sequence[str], wanted: bool) -> None:
        """Subscribe to these, or no more.  Raises NameInvalid for what cannot be a mailbox's name."""
        changed = [self._namespaces.canonical(one) for one in mailboxes if names.on_disk(one)]
        with FolderLock(self._layout.inbox, self._options.host, self._options.locks):
            have, other = self.names(), {*changed}
            will = [*dict.fromkeys(have + changed)] if wanted else [
                one for one in have if one not in other]
            if will == have:
                return
            with Directory(self.root, self._options.sync) as entries:
                self._write(will)
                try:
                    entries.sync()
                except StoreError:
                    self._write(have)
                    raise

    def _write(self, subscribed: Iterable[str]) -> None:
        # as Courier has them, whatever clients call them
        data = b"".join(names.on_disk(self._namespaces.aliased(name)) + b"\n" for name in subscribed)
        replace(os.path.join(self.root, FILE), data, self._layout.scratch, self._options.host,
                "imapsubscribe0", sync=self._options.sync)
