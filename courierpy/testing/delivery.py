"""A message comes into a Maildir of a test, as a mail server would bring it: into new/."""
from __future__ import annotations

import os

from courierpy.maildir.draft import Draft

HOST = "localhost"


def deliver(directory: str, octets: bytes, owner: tuple[int, int] | None = None) -> str:
    """``directory``: the one that holds the mailbox's new/.  ``owner``: uid and gid, where they are not our
    own.  Gives the path of the message.  Raises StoreError and OSError."""
    draft = Draft(directory, HOST)
    try:
        draft.write(octets)
        draft.finish(False)
        if owner is not None:
            os.chown(draft.path, *owner)
        path = os.path.join(directory, "new", f"{os.path.basename(draft.path)},S={draft.size}")
        os.rename(draft.path, path)
    except OSError:
        draft.abort()
        raise
    return path
