"""courierpy stats: what a server has counted, as a table that is shown anew while somebody looks.

It asks where METRICS of the settings says, and shows what changed in between as so many a second.
"""
from __future__ import annotations

import argparse
import re
import socket
import sys
import time

from courierpy.admin import default_files, give_up, read_settings
from courierpy.listener import places
from courierpy.model import measures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.listener.places import Place

    Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]

SECONDS = 2.0                  # between two looks
PATIENCE = 10.0                # seconds that the server has to answer
MOST_OCTETS = 4 << 20
CLEAR = "\x1b[H\x1b[J"
_LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+)")
_PAIR = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy stats", description=__doc__)
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("--at", metavar="PLACE", help="a place instead of METRICS: unix:/path, file:/path or "
                                                      "127.0.0.1:port")
    parser.add_argument("-o", "--once", action="store_true", help="show once; so does what is no terminal")
    parser.add_argument("-r", "--raw", action="store_true", help="the text that Prometheus reads")
    options = parser.parse_args(words)
    text = options.at or read_settings(options.files or default_files()).get("METRICS", "")
    try:
        found = places.parse(text)
    except ValueError as error:
        give_up(f"METRICS: {error}", 2 if options.at else 1)
    if not found:
        give_up("nothing is counted: METRICS is empty; a place was expected (127.0.0.1:9143)")
    if options.raw:
        print(read(found[0]), end="")
        return 0
    before: Series = {}
    while True:
        now = parse(read(found[0]))
        table = "\n".join(shown(now, before))
        if options.once or not sys.stdout.isatty():
            print(table)
            return 0
        print(f"{CLEAR}{table}\n\n{found[0]}, each {SECONDS:.0f} s; Ctrl-C ends", flush=True)
        before = now
        time.sleep(SECONDS)


def read(place: Place) -> str:
    """The text that is there.  OSError."""
    if place.kind == "file":
        with open(place.path, encoding="utf-8") as file:
            return file.read(MOST_OCTETS)
    family = socket.AF_UNIX if place.kind == "unix" else \
        socket.AF_INET6 if ":" in place.address else socket.AF_INET
    data = b""
    with socket.socket(family) as end:
        end.settimeout(PATIENCE)
        try:
            end.connect(place.path if place.kind == "unix" else (place.address, place.port))
            end.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            while len(data) < MOST_OCTETS and (piece := end.recv(65536)):
                data += piece
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(place)) from None
    head, _, body = data.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] != [b"200"]:
        give_up(f"{place}: something else answers there; a server of courierpy was expected")
    return body.decode("utf-8", "replace")


def parse(text: str) -> Series:
    """The values of a text, by name and labels."""
    found: Series = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            labels = tuple((name, value) for name, value in _PAIR.findall(match[2] or ""))
            found[match[1], labels] = float(match[3])
    return found


def shown(now: Series, before: Series) -> Iterator[str]:
    """The lines of the table.  ``before``: of the last look, empty at the first."""
    for row in measures.TABLE.values():
        name = measures.full_name(row)
        if row.name == measures.BUILD:
            continue
        if row.kind == measures.HISTOGRAM:
            yield from _spreads(row, now)
            continue
        for (own, labels), value in now.items():
            if own == name:
                more = value - before.get((own, labels), 0.0) if before else 0.0
                rate = f"{more / SECONDS:12.1f}/s" if row.kind == measures.COUNTER and more > 0 else ""
                yield f"{_words(row, labels):48} {_value(row, value):>20}{rate}".rstrip()


def _spreads(row: measures.Measure, now: Series) -> Iterator[str]:
    """A line for each histogram: how many, their mean, and within which time 95 of 100 were done."""
    name = measures.full_name(row)
    for (own, labels), count in now.items():
        if own == f"{name}_count" and count:
            mean = now.get((f"{name}_sum", labels), 0.0) / count
            most = next((key[-1][1] for bucket, key in now         # "le" is the last of its labels
                         if bucket == f"{name}_bucket" and key[:-1] == labels
                         and now[bucket, key] >= 0.95 * count), "+Inf")
            yield f"{_words(row, labels):48} {int(count):>20} mean {mean * 1000:.1f} ms, 95 % in {most} s"


def _words(row: measures.Measure, labels: tuple[tuple[str, str], ...]) -> str:
    return " ".join([row.name.replace("_", " "), *(value for _, value in labels)])


def _value(row: measures.Measure, value: float) -> str:
    if row.name in (measures.STARTED, measures.WRITTEN):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return f"{int(value):,}"
