"""What is counted: the table's text as Prometheus reads it, and that no process can say anything else."""
from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.listener import places
from courierpy.model import measures
from courierpy.model.measures import SECONDS, Sums, text_of
from courierpy.system import metrics
from tests.conftest import REPO


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples that Prometheus' own parser finds, by name and labels in the order of their names."""
    parser = pytest.importorskip("prometheus_client.parser")
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def test_counters_and_gauges_are_read() -> None:
    sums = Sums()
    sums.add((measures.LOGINS, "IMAP", "PLAIN", "ok"), 3)
    sums.add((measures.LOGINS, "IMAP", "PLAIN", "ok"))
    sums.add((measures.LOGINS, "POP3", "PASSWORD", "failed"))
    sums.numbers[measures.SESSIONS, "143", "asleep"] = 7
    assert read(text_of(sums)) == {
        ("courierpy_logins_total", (("mechanism", "PLAIN"), ("protocol", "IMAP"), ("result", "ok"))): 4,
        ("courierpy_logins_total",
         (("mechanism", "PASSWORD"), ("protocol", "POP3"), ("result", "failed"))): 1,
        ("courierpy_sessions", (("listener", "143"), ("state", "asleep"))): 7}


def test_a_histogram_is_read() -> None:
    sums = Sums()
    for seconds in (0.0005, 0.001, 0.3, 77.0):
        sums.observe((measures.COMMAND_SECONDS, "IMAP", "UID FETCH"), seconds)
    found = read(text_of(sums))
    labels = ("command", "UID FETCH"), ("protocol", "IMAP")
    name = "courierpy_command_seconds"
    bounds = {dict(key)["le"]: value for (own, key), value in found.items() if own == f"{name}_bucket"}
    assert list(bounds) == [*map(str, SECONDS), "+Inf"]
    assert (bounds["0.001"], bounds["0.25"], bounds["0.5"], bounds["10.0"], bounds["+Inf"]) == (2, 2, 3, 3, 4)
    assert found[f"{name}_count", labels] == 4
    assert found[f"{name}_sum", labels] == pytest.approx(77.3015)


def test_any_label_can_be_read() -> None:
    sums = Sums()
    for word in ('"', "\\", "\n", "a\\nb", '",x="', "ä"):
        sums.add((measures.REFUSED, word))
    found = read(text_of(sums))
    assert {dict(key)["reason"] for _, key in found} == {'"', "\\", "\n", "a\\nb", '",x="', "ä"}


def test_sums_arrive_as_they_are() -> None:
    sums, other = Sums(), Sums()
    sums.add((measures.RECEIVED, "IMAP"), 10 ** 12 + 1)
    sums.observe((measures.PUSH,), 0.02)
    for _ in range(2):
        assert {other.take(line) for line in sums.lines()} == {True}
    assert other.numbers == {(measures.RECEIVED, "IMAP"): 2 * (10 ** 12 + 1)}
    assert other.spreads[measures.PUSH,][-1] == 0.04
    assert sum(other.spreads[measures.PUSH,][:-1]) == 2


@pytest.mark.parametrize("line", [
    b"", b"\t", b"logins", b"nothing\t1", b"logins\tIMAP\tPLAIN\t1", b"logins\tIMAP\tPLAIN\tok\tx\t1",
    b"logins\tIMAP\tPLAIN\tok\t-1", b"logins\tIMAP\tPLAIN\tok\tnan", b"logins\tIMAP\tPLAIN\tok\tinf",
    b"logins\tIMAP\tPLAIN\tok\t1e300", b"logins\tIMAP\tPLAIN\tok\t1 2", b"logins\tIMAP\tPLAIN\tok\t",
    b'logins\tIMAP\t"\tok\t1', b"logins\tIMAP\t\xff\tok\t1", b"logins\tIMAP\t\tok\t1",
    b"logins\tIMAP\t%s\tok\t1" % (b"x" * 65), b"push_seconds\t1", b"push_seconds\t" + b" ".join([b"1"] * 99)])
def test_nothing_else_is_taken(line: bytes) -> None:
    sums = Sums()
    assert not sums.take(line)
    assert not sums


def test_a_process_cannot_make_series_without_end() -> None:
    sums = Sums()
    taken = [sums.take(b"refused_connections\t%d\t1" % number) for number in range(measures.MOST_SERIES + 5)]
    assert taken.count(True) == measures.MOST_SERIES
    assert sums.take(b"refused_connections\t7\t1")
    assert sums.take(b"connections\t1")            # another name has room of its own


@given(st.lists(st.one_of(st.binary(max_size=80), st.builds(
    lambda words, value: "\t".join([*words, value]).encode("utf-8", "surrogatepass"),
    st.lists(st.one_of(st.sampled_from(sorted(measures.TABLE)), st.text(max_size=8)), max_size=4),
    st.one_of(st.floats().map(repr), st.text(max_size=5)))), max_size=20))
def test_whatever_was_taken_can_be_read(lines: list[bytes]) -> None:
    sums = Sums()
    taken = [line for line in lines if sums.take(line)]
    assert bool(read(text_of(sums))) == bool(taken)


# -- the way there

@contextmanager
def counted() -> Iterator[tuple[socket.socket, metrics.Meter]]:
    """Where counts arrive, and this process' meter."""
    ends = metrics.pair()
    reader, writer = map(metrics.descriptor, ends)
    meter = metrics.begin({"METRICS": "unix:/x", metrics.VARIABLE: ends[1]}, "IMAP")
    try:
        assert meter is not None
        with socket.socket(fileno=reader) as end:
            yield end, meter
    finally:
        metrics.end()
        os.close(writer)


def arrived(end: socket.socket) -> Sums:
    sums = Sums()
    while True:
        try:
            data = end.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sums
        assert {sums.take(line) for line in data.split(b"\n")} == {True}


class Octets:
    rcvd, sent = 100, 1000


def test_a_process_sends_its_sums_once() -> None:
    with counted() as (end, meter):
        conn = Octets()
        meter.octets_of(conn)
        metrics.count(measures.REPAIRS, "restored")
        meter.command("NOOP", "ok", 0.01)
        meter.turn()                               # it is not time
        assert not arrived(end)
        conn.rcvd, conn.sent = 107, 1000
        metrics.end()
        assert arrived(end).numbers == {(measures.REPAIRS, "restored"): 1, (measures.RECEIVED, "IMAP"): 7,
                                        (measures.COMMANDS, "IMAP", "NOOP", "ok"): 1}
        metrics.count(measures.REPAIRS, "restored")        # nobody counts any more
        assert not arrived(end)


def test_where_nobody_reads_nobody_waits_and_nothing_is_lost() -> None:
    with counted() as (end, meter), socket.socket(fileno=os.dup(meter.fileno())) as writer:
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        sent = 0
        while not meter.sums:                      # until the socket takes no more
            sent += 1
            meter.add(measures.COMMANDS, "IMAP", "NOOP", "ok")
            for number in range(200):
                meter.add(measures.REFUSED, f"reason {number}")
            meter.send()
            assert sent < 10_000
        assert meter.sums.numbers[measures.DROPPED,] >= 1
        sums = arrived(end)
        meter.send()
        rest = arrived(end)
        for name in ((measures.COMMANDS, "IMAP", "NOOP", "ok"), (measures.REFUSED, "reason 199")):
            assert sums.numbers[name] + rest.numbers.get(name, 0) == sent


def test_nothing_is_counted_where_nobody_wants_it() -> None:
    ends = metrics.pair()
    for environ in ({}, {"METRICS": "unix:/x"}, {metrics.VARIABLE: ends[1]},
                    {"METRICS": "unix:/x", metrics.VARIABLE: f"{ends[1].partition(':')[0]}:1"},
                    {"METRICS": "unix:/x", metrics.VARIABLE: "0:0"}, {"METRICS": "1", metrics.VARIABLE: "x"}):
        assert metrics.begin(environ, "IMAP") is None
    for word in ends:
        os.close(metrics.descriptor(word))
        assert metrics.descriptor(word) == -1


# -- METRICS

def test_places() -> None:
    found = places.parse("unix:/run/x.sock, 127.0.0.1:9143 [::1]:9143  file:/var/x.prom 127.1.2.3:1")
    assert list(map(str, found)) == ["unix:/run/x.sock", "127.0.0.1:9143", "[::1]:9143", "file:/var/x.prom",
                                     "127.1.2.3:1"]
    assert places.parse("") == []


@pytest.mark.parametrize("word", ["9143", ":9143", "0.0.0.0:9143", "192.0.2.1:9143", "[::]:9143", "::1:9143",
                                  "localhost:9143", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                                  "[127.0.0.1]:1", "unix:", "unix:x", "file:x.prom", "yes", "[:1", "]:1",
                                  "127.0.0.1:1x"])
def test_other_places_are_told(word: str) -> None:
    with pytest.raises(ValueError, match="expected") as told:
        places.parse(word)
    assert word in str(told.value)


def test_the_dashboard_asks_for_what_is_there() -> None:
    board = json.loads((REPO / "etc/grafana/courierpy.json").read_text())
    known = {measures.full_name(row): row for row in measures.TABLE.values()}
    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            for name in re.findall(r"courierpy_\w+", target["expr"]):
                row = known[name.removesuffix("_bucket")]
                asked.add(row.name)
                by = re.search(r"by \(([^)]*)\)", target["expr"])
                labels = set(by[1].split(", ")) if by else set()
                assert labels <= {*row.labels, "le"}, target["expr"]
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels
    assert asked == {*measures.TABLE} - {measures.BEGUN, measures.BUILD, measures.WRITTEN}


def test_the_page_names_each_count() -> None:
    page = (REPO / "docs/watching.md").read_text()
    for row in measures.TABLE.values():
        assert f"`{measures.full_name(row).removeprefix(measures.PREFIX)}`" in page
