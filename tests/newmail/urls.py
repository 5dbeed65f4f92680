"""A URL that hears of new mail, on this host: what it was sent, and what it answers."""
from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Heard(http.server.BaseHTTPRequestHandler):
    """``answers``: the statuses, the last one for all that come after."""

    answers: list[int]
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers.items()), body))
        self.send_response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        self.send_header("Location", self.path + "x")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of clients that break off."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def heard(*answers: int, certificate: Path | None = None) -> Iterator[tuple[str, type[Heard]]]:
    """(URL, what was heard); by TLS with a certificate."""
    handler = type("Own", (Heard,), {"answers": list(answers or (200,)), "seen": []})
    with Quiet(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            scheme, host = ("https", "localhost") if certificate is not None else ("http", "127.0.0.1")
            yield f"{scheme}://{host}:{server.server_port}/hear?a=b", handler
        finally:
            server.shutdown()
            thread.join()
