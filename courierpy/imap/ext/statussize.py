"""STATUS=SIZE.  RFC 8438: the octets of all messages of a mailbox, as FETCH RFC822.SIZE has them."""
from __future__ import annotations

from courierpy.imap import counted
from courierpy.imap.attributes import Attributes
from courierpy.imap.ext import Extension
from courierpy.maildir.index.total import total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status


def _size(session: Session, name: str, count: Status) -> bytes:
    """RFC 8438 3.  Raises a store error where the disk does not give a message."""
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        return b"%d" % _total(selected.attributes(session.limits), counted.messages(session, name).uids)
    folders = session.folders
    path = folders.path_of(name)
    return b"%d" % total(folders.options.index(path), path, lambda: _opened(session, name))


def _opened(session: Session, name: str) -> int:
    folder = session.folders.open(name)
    try:
        uids = folder.scan(readonly=True).messages.uids
        return _total(Attributes(folder, session.limits), uids)
    finally:
        folder.close()


def _total(attributes: Attributes, uids: array[int]) -> int:
    attributes.begin()
    octets = sum([int(size) for size in attributes.numbers("size", uids) if size is not None])
    attributes.refuse(denied=False)
    return octets


EXTENSION = Extension(b"STATUS=SIZE", status_items={b"SIZE": _size})
