"""One message for several recipients: who sends it, who gets it, what becomes of each copy."""
from __future__ import annotations

from time import monotonic

from courierpy.auth import DELIVERY, Rejected, TemporaryFailure
from courierpy.lmtp.carrier import DUPLICATE, Job
from courierpy.lmtp.content import Content
from courierpy.lmtp.grammar import Address, Reply
from courierpy.model import measures
from courierpy.model.replies import anew
from courierpy.system import denials, log, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.auth import Account
    from courierpy.auth.postal import Accounts
    from courierpy.lmtp.carrier import Carriers
    from courierpy.lmtp.trace import Trace
    from courierpy.system.settings import Settings

UNKNOWN = Reply(550, "5.1.1", "There is no such user here")
NOBODY_KNOWS = Reply(451, "4.3.0", "Nobody can tell now whether there is such a user, try again later")
TOO_LARGE = Reply(552, "5.3.4", "The message is too large")
SETTLED = ("4.2.2", "5.2.2", "5.2.1")   # statuses of a mailbox that is full, or that is not there
NO_SPOOL = Reply(452, "4.3.1", "There is no room for the message now, try again later")


class Recipient:
    """Who a message is for.

    ``original``: the address that the sender wrote to, "" for the same.  ``folder``: a mailbox that the
    message must go to.  ``poster``: who brings it, as a list of rights may have it."""

    __slots__ = ("account", "address", "detail", "folder", "ignores_quota", "original", "poster")

    def __init__(self, address: Address, account: Account, detail: str = "", *, original: str = "",
                 folder: str = "", ignores_quota: bool = False) -> None:
        self.address = address
        self.account = account
        self.detail = detail
        self.original = original
        self.folder = folder
        self.ignores_quota = ignores_quota
        self.poster = ""


def recipient(accounts: Accounts, address: Address, settings: Settings, *, original: str = "",
              ignores_quota: bool = False) -> Recipient:
    """Raises Reply, also where the administrator has it so (system/denials.py)."""
    try:
        account, detail = accounts.find(address.local, address.domain)
    except Rejected:
        raise anew(UNKNOWN) from None
    except TemporaryFailure as error:
        log.err(f"{log.quoted(address.text)}: nobody can tell whose mail that is: {error}")
        raise anew(NOBODY_KNOWS) from None
    word = denials.word_for(settings, DELIVERY, account.address, "")
    if word:
        raise Reply(550, "5.2.1", word)
    return Recipient(address, account, detail, original=original, ignores_quota=ignores_quota)


def question(to: Recipient, maildir: str, octets: int) -> Job:
    """Would a message of so many octets come to this one?  0: nobody knows how many.  ``maildir``: of
    accounts that name none."""
    account = to.account
    return Job(account.home, account.maildir or maildir, b"", detail=to.detail, folder=to.folder,
               quota=account.quota, poster=to.poster, ignores_quota=to.ignores_quota, octets=octets)


class Transaction:
    """One message, from MAIL to the answers behind its text.

    ``sender``: the null address for a bounce.  ``octets``: that the client announced, 0 for any number.
    ``content``: what came of the message, None before."""

    def __init__(self, sender: Address, trace: Trace, settings: Settings, maildir: str,
                 octets: int = 0) -> None:
        self.sender = sender
        self.trace = trace
        self.octets = octets
        self.recipients: list[Recipient] = []
        self.content: Content | None = None
        self._settings = settings
        self._maildir = maildir

    def begin(self, most: int) -> Content:
        """The message is about to come, or goes on.  OSError."""
        if self.content is None:
            self.content = Content(most)
        return self.content

    def close(self) -> None:
        if self.content is not None:
            self.content.close()

    def refusal(self) -> Reply | None:
        """Why nobody gets what came."""
        content = self.content
        assert content is not None
        if content.too_large:
            return TOO_LARGE
        if content.failure is not None:
            log.err(f"a message cannot be kept until it is delivered: {content.failure.strerror}")
            return NO_SPOOL
        return None

    def examine(self, to: Recipient, carriers: Carriers) -> Reply | None:
        """Why the message will not come to this one, where that is clear before it is there; None where it
        is not: what is in doubt now may be so no more then."""
        if not self.octets and not (to.detail and self._settings.flag("LMTP_DETAIL_MUST_EXIST")):
            return None
        began = monotonic()
        reply = carriers.ask(to.account, question(to, self._maildir, self.octets))
        if reply.status not in SETTLED:
            return None
        self._log(to, reply, self.octets)
        self._count(reply, monotonic() - began)
        return reply

    def deliver(self, carriers: Carriers) -> Iterator[Reply]:
        """The message is whole: a reply for each recipient, in their order, as soon as it is known."""
        content = self.content
        assert content is not None
        content.finish()
        refusal = self.refusal()
        for each in self.recipients:
            began = monotonic()
            reply = refusal if refusal is not None else self._deliver(each, content, carriers)
            self._log(each, reply, content.size, content.header.message_id)
            self._count(reply, monotonic() - began)
            yield reply

    def _deliver(self, to: Recipient, content: Content, carriers: Carriers) -> Reply:
        account = to.account
        shows = self._settings.flag("LMTP_DELIVERED_TO")
        fields = self.trace.fields(self.sender, to.address, to.original, shows)
        fields = fields.replace(b"\r\n", content.line_end)
        key = ""
        if content.header.message_id:
            key = f"{to.address.text.lower()} {content.header.message_id.hex()} {content.digest.hex()}"
        job = Job(account.home, account.maildir or self._maildir, fields, detail=to.detail, folder=to.folder,
                  key=key, quota=account.quota, poster=to.poster, ignores_quota=to.ignores_quota)
        return carriers.carry(account, job, content.fd)

    @staticmethod
    def _count(reply: Reply, seconds: float) -> None:
        if metrics.current is not None:
            metrics.current.add(measures.DELIVERIES, "deferred" if 400 <= reply.code < 500 else
                                "refused" if not reply.done else
                                "duplicate" if reply.text == DUPLICATE.text else "delivered")
            metrics.current.sums.observe((measures.DELIVERY_SECONDS,), seconds)

    def _log(self, to: Recipient, reply: Reply, octets: int, message_id: bytes = b"") -> None:
        word = "DELIVERED" if reply.done else "DEFERRED" if reply.code < 500 else "REFUSED"
        (log.info if reply.done else log.warn)(
            f"{word}, id={self.trace.ident}, from={log.quoted(self.sender.text or '<>')}, "
            f"to={log.quoted(to.address.text)}, user={log.quoted(to.account.address)}, "
            f"msgid={log.quoted(message_id)}, size={octets}, "
            f"status={reply.status}")
