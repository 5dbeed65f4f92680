"""Token introspection: the authorization server is asked what a token is worth.  RFC 7662.

Over https, by a certificate that the system or ``OAUTH_TRUSTCERTS`` trusts; over http where the URL
says so.  No other host is gone to than the URL's: no redirection is followed, and no proxy used.
"""
from __future__ import annotations

import os
import stat

from courierpy.auth import TemporaryFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from courierpy.system.settings import Settings

MAX_ANSWER_OCTETS = 256 * 1024


def ask(token: str, settings: Settings) -> dict[str, Any]:
    """What the server says of the token, within OAUTH_TIMEOUT seconds for each of its steps.  Raises
    TemporaryFailure for whatever is no answer."""
    import http.client
    import json
    from urllib.error import HTTPError
    from urllib.parse import urlencode
    from urllib.request import Request
    url = settings.text("OAUTH_INTROSPECTION_URL")
    # RFC 7662 2.1
    body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    secret = _secret(settings.text("OAUTH_CLIENT_SECRET_FILE"))
    if settings.text("OAUTH_CLIENT_ID"):
        headers["Authorization"] = _basic(settings.text("OAUTH_CLIENT_ID"), secret)
    try:
        opener = _opener(url, settings.text("OAUTH_TRUSTCERTS"))
        with opener.open(Request(url, body, headers), timeout=settings.number("OAUTH_TIMEOUT")) as answer:
            data = answer.read(MAX_ANSWER_OCTETS + 1)
    except HTTPError as error:
        raise TemporaryFailure(f"{url}: answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:      # URLError is an OSError
        raise TemporaryFailure(f"{url}: {getattr(error, 'reason', '') or error}") from None
    try:
        claims = json.loads(data) if len(data) <= MAX_ANSWER_OCTETS else None
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TemporaryFailure(f"{url}: answers what is no JSON object")
    return claims


def _secret(path: str) -> str:
    """The first line of the file; "" without one.  Raises TemporaryFailure."""
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise TemporaryFailure(f"{path}: others can read or write it, mode must be 0600")
            return file.readline(4096).strip()
    except OSError as error:
        raise TemporaryFailure(f"OAUTH_CLIENT_SECRET_FILE: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TemporaryFailure(f"OAUTH_CLIENT_SECRET_FILE: {path}: is no text") from None


def _basic(client: str, secret: str) -> str:
    """RFC 6749 2.3.1: both are encoded as in a form first."""
    from base64 import b64encode
    from urllib.parse import quote_plus
    return "Basic " + b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()


def _opener(url: str, trusted: str) -> Any:
    from urllib.request import (
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        HTTPHandler,
        HTTPSHandler,
        OpenerDirector,
    )

    from courierpy.system import tlsclient
    opener = OpenerDirector()
    # whoever is redirected to is nobody who may see a token
    handlers = [HTTPErrorProcessor(), HTTPDefaultErrorHandler()]
    scheme = url.partition(":")[0].lower()
    if scheme == "https":
        handlers.append(HTTPSHandler(context=tlsclient.context(trusted)))
    elif scheme == "http":
        handlers.append(HTTPHandler())
    else:
        raise ValueError("no http or https")
    for handler in handlers:
        opener.add_handler(handler)
    return opener
