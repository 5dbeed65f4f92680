"""A message to its recipients: by the program SENDMAIL, as the user."""
from __future__ import annotations

from courierpy.imap.ext.outbox import hand_over
from courierpy.model.replies import No
from courierpy.system import log, mailer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.maildir.messagefile import MessageFile
    from courierpy.smap.upload import Upload

FAILED = "Message send FAILED"


def send(account: Session, upload: Upload, file: MessageFile) -> None:
    """Gives the message to the program.  Raises No where that does not take it, or a store error."""
    notify = ["-N", upload.notify] if upload.notify else []
    try:
        hand_over(account, file, behind=[*notify, "--", *upload.recipients], sender=upload.sender)
    except mailer.Failed as why:
        said = "/".join([*why.said.split("\n"), str(why)])
        user = account.settings.values.get("AUTHENTICATED", "")
        log.err(f"error sending a message, user={log.quoted(user)}: {log.quoted(said)}/{FAILED}./")
        raise No(f"{'; '.join(why.said.split(chr(10)))[:200] or why}/{FAILED}./") from None
