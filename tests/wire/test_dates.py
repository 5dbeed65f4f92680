"""INTERNALDATE in any time zone, on the days that change the offset and beside them."""
from __future__ import annotations

import datetime
import time
import zoneinfo
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courierpy.imap.grammar import dates

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe",
         "America/Boa_Vista")


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[zoneinfo.ZoneInfo]:
    """The process in this time zone, and nothing remembered of another."""
    try:
        found = zoneinfo.ZoneInfo(request.param)
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("the system has no time zone data")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    monkeypatch.setattr(dates, "_OFFSETS", {})
    monkeypatch.setattr(dates, "_STARTS", {})
    monkeypatch.setattr(dates, "_DATES", {})
    yield found
    monkeypatch.undo()
    time.tzset()


def expected(unix: float, zone: zoneinfo.ZoneInfo) -> bytes:
    when = datetime.datetime.fromtimestamp(int(unix // 1), zone)
    month = dates.MONTHS[when.month - 1].decode()
    return when.strftime(f'"%d-{month}-%Y %H:%M:%S %z"').encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2_000_000_000) | st.floats(0, 2_000_000_000))
def test_internaldate(zone: zoneinfo.ZoneInfo, unix: float) -> None:
    assert dates.internaldate(unix) == expected(unix, zone)
    assert dates.parse_datetime(dates.internaldate(unix).strip(b'"')) == int(unix)


def test_each_hour_of_two_years(zone: zoneinfo.ZoneInfo) -> None:
    """2011: Samoa left out a day; each other zone with summer time changes four times."""
    times = range(1_293_840_000, 1_357_000_000, 3600)
    for unix in times:
        assert dates.internaldate(unix) == expected(unix, zone)
    assert dates.internaldates(times) == [dates.internaldate(unix) for unix in times]


def test_a_week_of_summer_time(zone: zoneinfo.ZoneInfo) -> None:
    """Nowhere was it over sooner than in Boa Vista: from the 8th to the 15th of October 2000."""
    times = range(970_000_000, 973_000_000, 1800)
    assert dates.internaldates(times) == [expected(unix, zone) for unix in times]


def test_what_is_remembered_has_an_end(zone: zoneinfo.ZoneInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dates, "_MOST", 5)
    for day in range(200):
        assert dates.internaldate(day * 86400) == expected(day * 86400, zone)
    assert len(dates._OFFSETS) <= 5
    assert len(dates._STARTS) <= 10
    assert len(dates._DATES) <= 5 + 31
