"""The password of a request and what is stored of it: the same for each module that keeps passwords."""
from __future__ import annotations

import hmac

from courierpy.auth import Rejected, Request, cram, passwords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DUMMY = "$1$lablab$Jg3mZZP1pMW2VsmI8HYBF/"


def user_of(request: Request) -> str:
    """Who is asked for; of CRAM it stands in the response.  Raises Rejected."""
    return cram.parts(request)[1] if request.kind.startswith("cram-") else request.user


def like_one(request: Request, secret: str = DUMMY) -> None:
    """The work that a login of an account with this hash is, for a name that is not there."""
    if request.kind == "login":
        passwords.verify(secret, request.password)


def proved(request: Request, secrets: Iterable[str], clear: str, states: str = "") -> str:
    """The clear password, as far as it is known.  ``secrets``: hashes, one of which is the password's;
    ``clear``, ``states``: it itself, its HMAC states; "" where they are not there.  Raises Rejected."""
    if request.kind == "login":
        password = request.password
        is_clear = clear and hmac.compare_digest(passwords.octets(clear), passwords.octets(password))
        if not password or not (is_clear
                                or any(secret and passwords.verify(secret, password) for secret in secrets)):
            raise Rejected
        return password
    if request.kind.startswith("cram-"):
        cram.verify(clear, states, request)
    return clear
