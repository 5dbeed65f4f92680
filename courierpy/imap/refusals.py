"""The store's errors as answers: the only place that turns them into response codes."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.maildir import errors as store
from courierpy.model.replies import No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.session import Session

# what is said of a mailbox that is not here, or that cannot be here
ABSENT = (b"NONEXISTENT", b"TRYCREATE", b"NOPERM", b"CANNOT")

# The store's errors in the words of RFC 5530.
CODES: dict[type[store.StoreError], tuple[bytes | None, str]] = {
    store.FolderMissing: (b"NONEXISTENT", "Mailbox does not exist, or must be subscribed to."),
    store.FolderExists: (b"ALREADYEXISTS", "Mailbox already exists."),
    store.OtherAccount: (b"CANNOT", "Cannot move a folder to a different account."),
    store.NameInvalid: (b"CANNOT", "Invalid mailbox name."),
    store.MailboxFull: (b"LIMIT", "The mailbox may not have more messages here."),
    store.TooManyKeywords: (b"LIMIT", "These are too many keywords for the message or the mailbox."),
    store.DiskFull: (b"OVERQUOTA", "There is no room left in the mail store."),
    store.QuotaExceeded: (b"OVERQUOTA", "You exceeded your mail quota."),
    store.Denied: (b"NOPERM", "Access denied."),
    store.Vanished: (b"EXPUNGEISSUED", "Some of the messages no longer exist."),
    store.Busy: (b"INUSE", "The mailbox is locked by another session, please try again."),
    store.DiskTrouble: (b"UNAVAILABLE", "The mail store does not work at the moment."),
}


# errors of who asks, at which nothing is wrong here
ASKED = (store.FolderMissing, store.FolderExists, store.OtherAccount, store.NameInvalid, store.Vanished)


def describe(error: store.StoreError) -> No:
    """The NO of a store error; its detail stays in the log."""
    for kind in type(error).__mro__:
        if kind in CODES:
            code, text = CODES[kind]
            return No(text, code)
    return No("The mail store refused this.", b"CANNOT")


def refused(error: store.StoreError) -> No:
    """The same, and its detail is in the log."""
    answer = describe(error)
    if isinstance(error, ASKED) and answer.code is not None:
        log.info(f"NO [{answer.code.decode()}], {error}")
    else:
        log.err(str(error))
    return answer


def elsewhere(session: Session, error: No, names: Sequence[str]) -> No:
    """What a command is answered that names these mailboxes, and that ``error`` refuses: where one of them is
    at another server, that."""
    if not names or error.code not in ABSENT or not session.settings.text("IMAP_REMOTE_MAILBOXES"):
        return error
    refer = ext.find("on_absent", b"")
    found: No | None = refer(session, names) if refer is not None else None
    return found or error
