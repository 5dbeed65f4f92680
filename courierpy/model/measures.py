"""What is counted, by one table, and the sums of it: added up where it happens, carried as text, added again.

A label's value is a word of our own tables: a command, a mechanism, a reason; never what a client said.
Whoever takes sums of another process believes nothing else: a name that the table has, as many labels as it
has, words of harmless characters, numbers of 0 and more, and no more series of a name than MOST_SERIES.
"""
from __future__ import annotations

from bisect import bisect_left
from math import isfinite

from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
PREFIX = "courierpy_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)   # upper bounds
MOST_SERIES = 500              # of a name
MOST_VALUE = 1e15
_LABEL = later(r"[A-Za-z0-9 ._:,/+-]{1,64}")


class Measure:
    """``kind``: COUNTER, GAUGE or HISTOGRAM (of SECONDS).  ``labels``: their names.  ``help``: a sentence."""

    __slots__ = ("help", "kind", "labels", "name")

    def __init__(self, name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = text


LOGINS, COMMANDS, COMMAND_SECONDS, PUSH = "logins", "commands", "command_seconds", "push_seconds"
CONNECTIONS, REFUSED, BEGUN = "connections", "refused_connections", "sessions_begun"
RECEIVED, SENT, REPAIRS, DROPPED = "received_octets", "sent_octets", "uid_repairs", "dropped_messages"
DELIVERIES, DELIVERY_SECONDS, QUESTIONS = "deliveries", "delivery_seconds", "mta_questions"
SESSIONS, BEFORE_LOGIN, MOST, UP, STARTED, WRITTEN, BUILD = (
    "sessions", "connections_before_login", "connections_max", "listener_up", "start_time_seconds",
    "last_write_seconds", "build_info")
TABLE = {row.name: row for row in (
    Measure(CONNECTIONS, COUNTER, (), "Connections that were accepted."),
    Measure(REFUSED, COUNTER, ("reason",), "Connections that were turned away."),
    Measure(LOGINS, COUNTER, ("protocol", "mechanism", "result"), "Logins that were tried."),
    Measure(BEGUN, COUNTER, ("protocol",), "Sessions that began."),
    Measure(COMMANDS, COUNTER, ("protocol", "command", "result"), "Commands of sessions that were answered."),
    Measure(COMMAND_SECONDS, HISTOGRAM, ("protocol", "command"),
            "Time from a whole command to its answer, without IDLE."),
    Measure(PUSH, HISTOGRAM, (), "Time from the word of a change to the line for a client that idles."),
    Measure(RECEIVED, COUNTER, ("protocol",), "Octets from clients in sessions."),
    Measure(SENT, COUNTER, ("protocol",), "Octets to clients in sessions."),
    Measure(DELIVERIES, COUNTER, ("result",), "Copies of messages that came by LMTP, by recipient."),
    Measure(DELIVERY_SECONDS, HISTOGRAM, (), "Time from the whole message to the answer for a recipient."),
    Measure(QUESTIONS, COUNTER, ("protocol", "result"), "Recipients that an MTA asked for."),
    Measure(REPAIRS, COUNTER, ("result",), "Lists of UIDs that were missing or damaged."),
    Measure(DROPPED, COUNTER, (), "Messages of counts that found no room."),
    Measure(SESSIONS, GAUGE, ("listener", "state"), "Sessions with a process, and asleep without one."),
    Measure(BEFORE_LOGIN, GAUGE, ("listener",), "Connections that have not logged in."),
    Measure(MOST, GAUGE, ("listener",), "Connections that the listener takes at a time."),
    Measure(UP, GAUGE, ("listener",), "1 for each listener that serves."),
    Measure(STARTED, GAUGE, (), "When counting began, in seconds since 1970."),
    Measure(WRITTEN, GAUGE, (), "When the file was written, in seconds since 1970."),
    Measure(BUILD, GAUGE, ("version", "python"), "The versions of the program and of Python."))}


class Sums:
    """By name and labels: a number, or of a histogram a list, the counts of each bound of SECONDS, then of
    what is longer, then the sum of all."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, ...], float] = {}
        self.spreads: dict[tuple[str, ...], list[float]] = {}

    def __bool__(self) -> bool:
        return bool(self.numbers or self.spreads)

    def add(self, key: tuple[str, ...], value: float = 1) -> None:
        """``key``: the name, and the labels in the order of the table."""
        self.numbers[key] = self.numbers.get(key, 0) + value

    def observe(self, key: tuple[str, ...], seconds: float) -> None:
        """One more event that took so long."""
        spread = self.spreads.get(key)
        if spread is None:
            spread = self.spreads[key] = [0] * (len(SECONDS) + 2)
        spread[bisect_left(SECONDS, seconds)] += 1
        spread[-1] += max(0.0, seconds)

    # -- to another process, and from it

    def lines(self) -> Iterator[bytes]:
        """A line for each series, as ``take`` reads it."""
        for key, value in self.numbers.items():
            yield "\t".join([*key, repr(value)]).encode("utf-8", "backslashreplace")
        for key, spread in self.spreads.items():
            yield "\t".join([*key, " ".join(map(repr, spread))]).encode("utf-8", "backslashreplace")

    def take(self, line: bytes) -> bool:
        """Adds what a process says; sets what is a gauge by the table.  False: it is nothing of the table."""
        *key, said = line.decode("utf-8", "replace").split("\t")
        row = TABLE.get(key[0]) if key else None
        if row is None or len(key) != 1 + len(row.labels) or not all(map(_LABEL.fullmatch, key[1:])):
            return False
        try:
            values = [float(word) for word in said.split(" ")]
        except ValueError:
            return False
        if not all(isfinite(value) and 0 <= value <= MOST_VALUE for value in values):
            return False
        name = tuple(key)
        if row.kind == HISTOGRAM:
            return len(values) == len(SECONDS) + 2 and self._take_spread(name, values)
        if len(values) != 1 or not self._has_room(name, self.numbers):
            return False
        self.numbers[name] = values[0] if row.kind == GAUGE else self.numbers.get(name, 0) + values[0]
        return True

    def _take_spread(self, name: tuple[str, ...], values: list[float]) -> bool:
        if not self._has_room(name, self.spreads):
            return False
        before = self.spreads.get(name, [0.0] * len(values))
        self.spreads[name] = [one + other for one, other in zip(before, values, strict=True)]
        return True

    @staticmethod
    def _has_room(name: tuple[str, ...], series: Mapping[tuple[str, ...], object]) -> bool:
        return name in series or sum(key[0] == name[0] for key in series) < MOST_SERIES


# -- the text that Prometheus reads, version 0.0.4

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(*all_sums: Sums) -> str:
    """All of the table, series in the order of their labels; a name without any has no lines."""
    said = []
    for row in TABLE.values():
        series = [item for sums in all_sums for item in (
            _spread_lines(row, sums) if row.kind == HISTOGRAM else _number_lines(row, sums))]
        if series:
            name = full_name(row)
            said += [f"# HELP {name} {row.help}", f"# TYPE {name} {row.kind}", *series]
    return "\n".join([*said, ""])


def full_name(row: Measure) -> str:
    """As Prometheus calls it."""
    return PREFIX + row.name + ("_total" if row.kind == COUNTER else "")


def _number_lines(row: Measure, sums: Sums) -> list[str]:
    return [f"{full_name(row)}{_labels(row, key)} {_number(value)}"
            for key, value in sorted(sums.numbers.items()) if key[0] == row.name]


def _spread_lines(row: Measure, sums: Sums) -> list[str]:
    said = []
    for key, spread in sorted(sums.spreads.items()):
        if key[0] == row.name:
            count = 0.0
            for bound, more in zip((*map(str, SECONDS), "+Inf"), spread, strict=False):
                count += more
                said.append(f"{full_name(row)}_bucket{_labels(row, key, le=bound)} {_number(count)}")
            said += [f"{full_name(row)}_sum{_labels(row, key)} {_number(spread[-1])}",
                     f"{full_name(row)}_count{_labels(row, key)} {_number(count)}"]
    return said


def _labels(row: Measure, key: tuple[str, ...], **more: str) -> str:
    pairs = [*zip(row.labels, key[1:], strict=True), *more.items()]
    inner = ",".join([f'{name}="{_escaped(value)}"' for name, value in pairs])
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
