"""Who shares mailboxes with a user: found out when a client asks for one of theirs."""
from __future__ import annotations

from functools import partial

from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.linked import Linked
from courierpy.maildir.neighbours import Neighbours
from courierpy.maildir.options import of_all
from courierpy.maildir.sharedindex import SharedIndex
from courierpy.maildir.store import Store
from courierpy.model.accountoptions import option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.model.namespaces import Namespace
    from courierpy.system.settings import Settings


def meet(own: Store, settings: Settings, host: str | None) -> Neighbours:
    """Of who has the Maildir ``own``, which is of Store.of() with the same settings and host."""
    who = own.access.identities - {"owner"}
    options = of_all(settings, host)
    file = settings.text("IMAP_SHAREDINDEXFILE")
    index = None
    if file:
        group = option(settings.values.get("OPTIONS", ""), "sharedgroup")
        index = SharedIndex(file + group, settings.flag("IMAP_SHAREDMUNGENAMES"))

    def account(root: str, namespace: Namespace) -> Store:
        return Store(root, choice=MaildirPlusPlus.name, identities=who, namespace=namespace, **options)

    return Neighbours(own, index, account, partial(Linked, own=own, **options))
