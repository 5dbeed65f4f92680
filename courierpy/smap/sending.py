"""A message to its recipients: by the program SENDMAIL, as the user."""
from __future__ import annotations

import os

from courierpy.imap.ext.outbox import message
from courierpy.maildir.errors import trouble
from courierpy.maildir.messagefile import MessageFile
from courierpy.model.replies import No
from courierpy.system import log, mailer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.smap.upload import Upload

FAILED = "Message send FAILED"


def send(account: Session, upload: Upload, path: str) -> None:
    """Gives the file at ``path`` to the program.  Raises No where that does not take it, or a store error."""
    settings = account.settings
    user = settings.values.get("AUTHENTICATED", "")
    sender = upload.sender or settings.values.get("AUTHADDR", "") or user
    words = [settings.text("SENDMAIL") or "sendmail", "-oi", *(["-f", sender] if sender else []),
             *(["-N", upload.notify] if upload.notify else []), "--", *upload.recipients]
    environ = {name: value for name, value in settings.values.items() if not name.startswith("COURIERPY_")}
    try:
        file = MessageFile(os.open(path, os.O_RDONLY), path)
    except OSError as error:
        raise trouble(path, error) from None
    with file:
        try:
            mailer.send(words, environ, message(settings.text("HEADERFROM"), user, file),
                        settings.number("OUTBOX_TIMEOUT"), lambda: account.waiting.stopping)
        except mailer.Failed as why:
            said = "/".join([*why.said.split("\n"), str(why)])
            log.err(f"error sending a message, user={log.quoted(user)}: {log.quoted(said)}/{FAILED}./")
            raise No(f"{'; '.join(why.said.split(chr(10)))[:200] or why}/{FAILED}./") from None
