"""The rows of the table: what is measured, in which unit, and the goal."""
from __future__ import annotations

from bench import connection, delivery, extensions, habits, large, memory, pop3, reuse, rows, started, tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import At
    from bench.rows import Figures


class Goal:
    """``factor`` times the figure of ``peer``, or ``limit``: at least when more is better, else at most."""

    def __init__(self, peer: str = "", factor: float = 1.0, limit: float = 0.0) -> None:
        self.peer = peer
        self.factor = factor
        self.limit = limit

    def target(self, figures: Figures) -> float | None:
        """In the row's unit, from server -> figure; None when the peer was not measured."""
        if not self.peer:
            return self.limit
        return self.factor * figures[self.peer] if self.peer in figures else None


class Case:
    """One line of the table.  ``more``: is more better?"""

    def __init__(self, key: str, title: str, unit: str, more: bool, goal: Goal) -> None:
        self.key = key
        self.title = title
        self.unit = unit
        self.more = more
        self.goal = goal


class Row:
    """``measure`` gives key -> figure for the cases; ``most``: repetitions, where a row is slow or steady."""

    def __init__(self, number: int, measure: Callable[[At], Figures], cases: list[Case],
                 most: int = 99) -> None:
        self.number = number
        self.measure = measure
        self.cases = cases
        self.most = most


ROWS = [
    Row(1, rows.row_sessions, [
        Case("1a", "connect, LOGIN, SELECT, LOGOUT, one at a time", "sessions/s", True, Goal("courier", 2)),
        Case("1b", "the same, 16 at once", "sessions/s", True, Goal("courier", 2))]),
    Row(2, rows.row_cpu, [
        Case("2", "server CPU of a session, reaped children included", "ms", False, Goal("courier"))]),
    Row(3, rows.row_select, [
        Case("3a", "SELECT {big}, unchanged", "ms", False, Goal("dovecot")),
        Case("3b", "SELECT {big}, after one delivery", "ms", False, Goal(limit=20)),
        Case("3c", "SELECT {messages}, unchanged", "ms", False, Goal("dovecot"))]),
    Row(4, rows.row_select_cold, [
        Case("4", "SELECT {big} cold, no index", "ms", False, Goal("dovecot", 0.6))]),
    Row(5, rows.row_flags, [
        Case("5", "UID FETCH 1:* FLAGS of {big}", "msg/s", True, Goal("dovecot", 1.5))]),
    Row(6, rows.row_envelope, [
        Case("6a", "FETCH ENVELOPE, cold", "msg/s", True, Goal("dovecot")),
        Case("6b", "FETCH ENVELOPE, warm", "msg/s", True, Goal("dovecot", 8))]),
    Row(7, rows.row_structure, [
        Case("7a", "FETCH BODYSTRUCTURE, cold", "msg/s", True, Goal("dovecot", 0.5)),
        Case("7b", "FETCH BODYSTRUCTURE, warm", "msg/s", True, Goal("dovecot"))]),
    Row(8, rows.row_headers, [
        Case("8a", "FETCH header fields, warm", "msg/s", True, Goal("dovecot", 4)),
        Case("8b", "FETCH SIZE, INTERNALDATE, warm", "msg/s", True, Goal("dovecot", 4))]),
    Row(9, rows.row_bodies, [
        Case("9a", "FETCH BODY[] of all", "MB/s", True, Goal("dovecot")),
        Case("9b", "FETCH BODY[] one by one", "msg/s", True, Goal("dovecot"))]),
    Row(10, rows.row_noop, [
        Case("10", "NOOP in a folder of {messages}", "commands/s", True, Goal("dovecot"))]),
    Row(11, rows.row_folders, [
        Case("11a", "STATUS of {many} folders, warm", "folders/s", True, Goal("dovecot")),
        Case("11b", "LIST of {many} folders", "ms", False, Goal("dovecot"))]),
    Row(12, rows.row_search, [
        Case("12a", "SEARCH FROM, warm", "msg/s", True, Goal("dovecot", 10)),
        Case("12b", "SEARCH SUBJECT, warm", "msg/s", True, Goal("dovecot", 10)),
        Case("12c", "SEARCH UNSEEN", "msg/s", True, Goal("dovecot"))]),
    Row(13, rows.row_search_text, [
        Case("13a", "SEARCH BODY, warm", "msg/s", True, Goal("dovecot", 20)),
        Case("13b", "SEARCH TEXT, warm", "msg/s", True, Goal("dovecot", 20)),
        Case("13c", "SEARCH BODY, cold", "msg/s", True, Goal("dovecot")),
        Case("13d", "SEARCH TEXT, cold", "msg/s", True, Goal("dovecot"))], most=3),
    Row(14, rows.row_order, [
        Case("14a", "SORT (DATE), warm", "msg/s", True, Goal("dovecot")),
        Case("14b", "THREAD REFERENCES, warm", "msg/s", True, Goal("dovecot"))]),
    Row(15, rows.row_store, [
        Case("15a", "STORE of {range} in one command", "msg/s", True, Goal("courier")),
        Case("15b", "STORE one by one", "msg/s", True, Goal("courier"))]),
    Row(16, rows.row_copy, [
        Case("16a", "COPY of {range}", "msg/s", True, Goal("dovecot")),
        Case("16b", "EXPUNGE of {range}", "msg/s", True, Goal("dovecot")),
        Case("16c", "MOVE of {range}", "msg/s", True, Goal("dovecot"))]),
    Row(17, rows.row_append, [
        Case("17a", "APPEND of 5 kB, durable", "msg/s", True, Goal("dovecot")),
        Case("17b", "APPEND of 5 kB, durable, 4 connections", "msg/s", True, Goal("dovecot"))]),
    Row(18, habits.row_sync, [
        Case("18a", "first sync of 10 folders, as mbsync asks", "msg/s", True, Goal("dovecot", 2)),
        Case("18b", "next sync of 10 folders of {synced}", "ms", False, Goal("dovecot"))]),
    Row(19, memory.row_memory, [
        Case("19a", "memory of a session, {few} open, awake", "kB", False, Goal(limit=950)),
        Case("19b", "memory of a session, {lots} open, awake", "kB", False, Goal(limit=950)),
        Case("19c", "memory of a session, {few} in IDLE", "kB", False, Goal(limit=50)),
        Case("19d", "memory of a session, {lots} in IDLE", "kB", False, Goal(limit=50)),
        Case("19e", "memory of a session, {few} silent for long", "kB", False, Goal(limit=50)),
        Case("19f", "memory of a session, {lots} silent for long", "kB", False, Goal(limit=50)),
        Case("19g", "NOOP of one of {few} that was silent for long", "ms", False, Goal(limit=40)),
        Case("19h", "NOOP of one of {lots} that was silent for long", "ms", False, Goal(limit=40))], most=1),
    Row(24, rows.row_crowd, [
        Case("24a", "{some} clients at random in one INBOX of {crowded}", "commands/s", True,
             Goal("dovecot", 0.8)),
        Case("24b", "{crowd} clients at random in one INBOX of {crowded}", "commands/s", True,
             Goal("dovecot", 0.8)),
        Case("24c", "longest answer to one of {crowd} clients", "ms", False, Goal("dovecot")),
        Case("24d", "longest wait for the lock, beside {crowd} clients", "ms", False, Goal(limit=500))],
        most=3),
    Row(20, rows.row_start, [
        Case("20", "bare imapd over a pipe: start to greeting", "ms", False, Goal("python", 2))]),
    Row(25, rows.row_condstore, [
        Case("25a", "STORE of {range} in one command, CONDSTORE", "msg/s", True, Goal("dovecot")),
        Case("25b", "QRESYNC of {big} with ten changes", "ms", False, Goal(limit=10))]),
    Row(21, large.row_pieces, [
        Case("21a", "BODY[] of {piecewise} MB in pieces of 64 kB", "ms", False, Goal("dovecot", 2)),
        Case("21b", "a base64 part of it in pieces of 64 kB", "ms", False, Goal("dovecot", 2))]),
    Row(22, large.row_peaks, [
        Case("22a", "memory that BODY[] of {huge} MB takes at most", "MB", False, Goal(limit=40)),
        Case("22b", "the same, a piece of 1 kB in its middle", "MB", False, Goal(limit=40)),
        Case("22c", "the same, SEARCH BODY", "MB", False, Goal(limit=40)),
        Case("22d", "the same, RFC822.SIZE", "MB", False, Goal(limit=40))], most=1),
    Row(26, extensions.row_list_status, [
        Case("26", "LIST-STATUS of {many} folders, warm", "ms", False, Goal("dovecot"))]),
    Row(27, extensions.row_preview, [
        Case("27a", "FETCH PREVIEW, cold", "msg/s", True, Goal("dovecot", 0.5)),
        Case("27b", "FETCH PREVIEW, warm", "msg/s", True, Goal("dovecot"))], most=3),
    Row(28, extensions.row_windows, [
        Case("28a", "UID SEARCH RETURN (COUNT MIN MAX) in {big}", "ms", False, Goal("dovecot")),
        Case("28b", "UID SEARCH RETURN (PARTIAL 1:50) in {big}", "ms", False, Goal("dovecot")),
        Case("28c", "UID SEARCH RETURN (COUNT) of three keys in {big}", "ms", False, Goal("dovecot"))]),
    Row(30, connection.row_compress, [
        Case("30a", "COMPRESS: FETCH BODY[] of all", "MB/s", True, Goal("dovecot")),
        Case("30b", "COMPRESS: octets of mail that are one on the wire", "octets", True,
             Goal("dovecot", 0.95))]),
    Row(31, connection.row_notify, [
        Case("31a", "NOTIFY SET over {heard} folders", "ms", False, Goal("dovecot")),
        Case("31b", "NOTIFY: from a delivery to its STATUS", "ms", False, Goal(limit=20)),
        Case("31c", "NOTIFY: memory that it takes", "kB", False, Goal(limit=1000)),
        Case("31d", "NOTIFY: memory of a session that sleeps", "kB", False, Goal(limit=100)),
        Case("31e", "NOTIFY: the same push to one that sleeps", "ms", False, Goal(limit=60))], most=1),
    Row(32, tls.row_handshakes, [
        Case("32a", "TLS session, one at a time, ECDSA", "sessions/s", True, Goal("dovecot", 2.5)),
        Case("32b", "the same, by the last one's ticket", "sessions/s", True, Goal("dovecot", 2.5)),
        Case("32c", "TLS session, one at a time, RSA", "sessions/s", True, Goal("dovecot", 2.5)),
        Case("32d", "the same, by the last one's ticket", "sessions/s", True, Goal("dovecot", 2.5))], most=3),
    Row(33, tls.row_memory, [
        Case("33", "memory of a TLS connection in IDLE, {secure} open", "kB", False, Goal(limit=45))],
        most=1),
    Row(34, tls.row_push, [
        Case("34a", "push to {told} TLS connections in IDLE: median", "ms", False, Goal("dovecot")),
        Case("34b", "push to {told} TLS connections in IDLE: the last", "ms", False, Goal("dovecot"))],
        most=3),
    Row(35, tls.row_bodies, [
        Case("35", "FETCH BODY[] of all by TLS", "MB/s", True, Goal("in process", 0.7))], most=3),
    Row(36, habits.row_keywords, [
        Case("36a", "STORE of a keyword of {messages} in one command", "msg/s", True, Goal("dovecot")),
        Case("36b", "FETCH FLAGS of {messages} with a keyword", "msg/s", True, Goal("dovecot")),
        Case("36c", "COPY of {range} with a keyword", "msg/s", True, Goal("dovecot")),
        Case("36d", "MOVE of {range} with a keyword", "msg/s", True, Goal("dovecot"))], most=3),
    Row(37, habits.row_all, [
        Case("37a", "STORE of a flag of {messages} in one command", "msg/s", True, Goal("dovecot")),
        Case("37b", "EXPUNGE of {messages}", "msg/s", True, Goal("dovecot")),
        Case("37c", "FETCH FLAGS of {messages} that are recent", "msg/s", True, Goal("dovecot"))], most=3),
    Row(38, habits.row_small_folders, [
        Case("38", "STATUS of {many} folders of {fewest}, asked again", "folders/s", True, Goal("dovecot"))]),
    Row(39, reuse.row_reuse, [
        Case("39a", "sessions share a process, one account, one at a time", "sessions/s", True,
             Goal("courier", 4)),
        Case("39b", "the same, 16 at once", "sessions/s", True, Goal("dovecot", 7)),
        Case("39c", "the same, server CPU of a session", "ms", False, Goal("courier", 0.35)),
        Case("39d", "accounts of one uid by turns, `IMAP_REUSE=uid`", "sessions/s", True, Goal("courier", 4)),
        Case("39e", "accounts by turns, `IMAP_REUSE=account`", "sessions/s", True, Goal("courier")),
        Case("39f", "one account, `IMAP_REUSE=no`", "sessions/s", True, Goal("courier", 1.5))], most=3),
    Row(40, delivery.row_deliveries, [
        Case("40a", "deliveries by LMTP, one connection", "messages/s", True, Goal("dovecot")),
        Case("40b", "the same, 4 connections", "messages/s", True, Goal("dovecot"))], most=3),
    Row(41, started.row_started, [
        Case("41a", "`courierpy.testing.Server`, from nothing to its greeting", "ms", False, Goal(limit=300)),
        Case("41b", "its LMTP, from the first wish to the greeting", "ms", False, Goal(limit=300))], most=5),
    Row(42, pop3.row_list, [
        Case("42a", "POP3: LIST of {messages}, warm, server CPU", "ms", False, Goal(limit=50)),
        Case("42b", "POP3: UIDL of {messages}, warm, server CPU", "ms", False, Goal(limit=50))], most=3),
]
