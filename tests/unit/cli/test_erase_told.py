"""What `waybill record erase` says: counts, what is left to do, and until when copies can be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.records.edge_copies import CHECK_EVERY, DELETE_DELAY, Copies, lifetime
from services.cli.records.erase import MAX_LINES, Found, as_json, told

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
LEFT = Copies({"waybill.requests": timedelta(hours=24), "waybill.results": timedelta(hours=30)}, told_by_broker=True)
milliseconds = st.integers(0, 10**12)


@given(retention=milliseconds, segment=milliseconds)
def test_a_message_outlives_its_retention_by_the_rest_of_its_segment(retention: int, segment: int) -> None:
    found = lifetime({"retention.ms": str(retention), "segment.ms": str(segment)})
    assert found == timedelta(milliseconds=retention + segment) + CHECK_EVERY + DELETE_DELAY


def test_a_topic_without_retention_keeps_its_copies() -> None:
    assert lifetime({"retention.ms": "-1", "segment.ms": "1"}) is None
    assert Copies({"a": timedelta(1), "b": None}, told_by_broker=True).longest() is None
    lines = told(Found(), Copies({"a": None}, told_by_broker=True), NOW, dry_run=False)
    assert "a: has no retention: copies stay" in lines


def test_it_says_what_was_erased_and_until_when_copies_stay() -> None:
    found = Found({UUID(int=1): "erased", UUID(int=2): "erased_before", UUID(int=3): "unknown"})
    lines = told(found, LEFT, NOW, dry_run=False)
    assert "1 records erased, 1 were erased before, 1 are unknown." in lines
    assert "waybill.requests: copies are gone by 2026-03-05 05:06 UTC" in lines
    document = as_json(found, LEFT, NOW, dry_run=False)
    assert document["last_copy_gone_by"] == NOW + timedelta(hours=30)
    assert document["complete"] is True


def test_it_says_when_a_recorder_has_still_to_do_it() -> None:
    found = Found({UUID(int=1): "under_way"}, complete=False)
    assert any("1 records are still to be erased" in one for one in told(found, LEFT, NOW, dry_run=False))


@pytest.mark.parametrize("told_by_broker", [True, False])
def test_it_says_where_the_times_come_from(told_by_broker: bool) -> None:
    left = Copies(LEFT.lifetimes, told_by_broker)
    assert any("settings" in one for one in told(Found(), left, NOW, dry_run=False)) != told_by_broker


def test_many_records_are_counted_rather_than_listed() -> None:
    found = Found({UUID(int=number): "erased" for number in range(MAX_LINES + 7)})
    lines = told(found, LEFT, NOW, dry_run=False)
    assert "… and 7 more: --json names all" in lines
