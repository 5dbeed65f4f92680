"""A message comes into a Maildir of a test as a mail server would bring it: into new/, as its owner.

In the guardian, which does one thing at a time: for a while the working directory and, as root, the rights of
the whole process are others.
"""
from __future__ import annotations

from courierpy.admin.owner import inside
from courierpy.maildir import delivery
from courierpy.maildir.store import Store


def deliver(maildir: str, mailbox: str, layout: str, octets: bytes) -> None:
    """``mailbox``: as clients name it; ``layout``: as IMAP_LAYOUT.  Raises StoreError and OSError."""
    with inside(maildir, layout):
        delivery.deliver(Store(".", fsync="never", choice=layout), mailbox, [octets])
