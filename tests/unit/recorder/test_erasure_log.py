"""The erasure log: what was written is read back, in one piece or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.erasure_log import ErasureLog, Line, read

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
lines = st.builds(
    Line,
    at=st.just(AT),
    tenant=words,
    actor=words,
    reason=words,
    cause=st.sampled_from(["record", "subject", "replay", "retention"]),
    records=st.lists(st.uuids(), max_size=3),
    subject=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    refuse_until=st.none() | st.just(AT),
)


def line(number: int) -> Line:
    return Line(at=AT, tenant="acme", actor="ann", reason="r", cause="record", records=[UUID(int=number)])


@given(written=st.lists(lines, max_size=5))
def test_what_was_written_is_read(written: list[Line], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "made" / "erasures.jsonl"
    log = ErasureLog(path)
    log.append(written[:2])
    log.append(written[2:])
    assert (read(path) if written else ([], 0)) == (written, 0)


@given(cut=st.integers(1, 200))
def test_a_line_that_was_cut_off_spoils_no_other(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "erasures.jsonl"
    ErasureLog(path).append([line(1), line(2)])
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    path.write_bytes(whole[: min(second + cut, len(whole) - 2)])
    ErasureLog(path).append([line(3)])
    assert read(path) == ([line(1), line(3)], 1)


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "erasures.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ErasureLog(path).append([line(number)]), range(80)))
    found, unreadable = read(path)
    assert (sorted(one.records[0].int for one in found), unreadable) == (list(range(80)), 0)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "erasures.jsonl"
    ErasureLog(path).append([line(1)])
    assert path.stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        ErasureLog(tmp_path).append([line(1)])
