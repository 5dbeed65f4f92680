"""Who shares mailboxes with a user: found out when a client asks for one of theirs."""
from __future__ import annotations

from functools import partial

from courierpy.model.accountoptions import option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.neighbours import Neighbours
    from courierpy.maildir.store import Store
    from courierpy.model.namespaces import Namespace
    from courierpy.system.settings import Settings


def share(store: Store, settings: Settings, host: str | None) -> None:
    """Names of others' mailboxes have a meaning in this Maildir, unless the account has the option
    disableshared.  ``store`` is of Store.of() with the same settings and host."""
    who = store.access.identities
    if who and store.layout.prefix:
        store.meet = partial(_meet, store, settings, host, who - {"owner"})


def _meet(own: Store, settings: Settings, host: str | None, who: frozenset[str]) -> Neighbours:
    from courierpy.maildir.layout import MaildirPlusPlus  # few sessions do
    from courierpy.maildir.linked import Linked
    from courierpy.maildir.neighbours import Neighbours
    from courierpy.maildir.sharedindex import SharedIndex
    from courierpy.maildir.store import Store, of_all
    options = of_all(settings, host)
    file = settings.text("IMAP_SHAREDINDEXFILE")
    index = None
    if file:
        group = option(settings.values.get("OPTIONS", ""), "sharedgroup")
        index = SharedIndex(file + group, settings.flag("IMAP_SHAREDMUNGENAMES"))

    def account(root: str, namespace: Namespace) -> Store:
        return Store(root, choice=MaildirPlusPlus.name, identities=who, namespace=namespace, **options)

    return Neighbours(own, index, account, partial(Linked, own=own, **options))
