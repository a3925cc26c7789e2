"""Collecting results from a stream until every line has one: counts, files, exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from publish_samples import at, failure, item, result

from schemas.codes import ErrorCode
from schemas.dead_letter import dead_letter_headers
from services.cli.publishing.expected import Expected
from services.cli.publishing.items import Refusal
from services.cli.publishing.lines import Format
from services.cli.publishing.run import collect
from services.cli.publishing.sinks import NAMED_REFUSALS, OutputError, Sinks
from services.cli.publishing.summary import Summary
from services.cli.publishing.watch import DeadLetter, dead_letter, final_result


class Stream:
    """Gives prepared batches, then nothing for as long as it is asked."""

    def __init__(self, *batches: list[dict[str, Any] | DeadLetter]) -> None:
        self._batches: Iterator[list[dict[str, Any] | DeadLetter]] = iter(batches)

    async def read(self, seconds: float) -> list[dict[str, Any] | DeadLetter]:
        batch = next(self._batches, None)
        if batch is None:
            await asyncio.sleep(seconds)
        return batch or []


async def collected(
    stream: Stream,
    expected: Expected,
    *,
    out: Path | None = None,
    errors: Path | None = None,
    format: Format = Format.NATIVE,
    patience: float = 60,
) -> Summary:
    summary = Summary(waited=True, lines=len(expected), published=len(expected))
    with Sinks(out, errors, say=lambda text: None) as sinks:
        sinks.format = format
        await collect(
            stream, expected, sinks, summary, patience=timedelta(seconds=patience), progress=lambda summary: None
        )
    return summary


def three() -> Expected:
    expected = Expected()
    for number in range(3):
        expected.add(item(number + 1, f"k{number}"), at(number))
    return expected


def lines(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_it_ends_when_every_line_has_a_result() -> None:
    stream = Stream(
        [result(at(0), "k0"), result(at(50), "stranger")],
        [],
        [result(at(0), "k0"), result(at(1), "k1"), result(at(2), "k2", "failed", error=failure("provider_failed"))],
    )
    summary = await collected(stream, three())
    assert summary.statuses == {"succeeded": 2, "failed": 1}
    assert str(summary.cost_usd) == "0.006"
    assert (summary.missing, summary.succeeded) == (0, False)


async def test_all_succeeded() -> None:
    summary = await collected(Stream([result(at(n), f"k{n}") for n in range(3)]), three())
    assert summary.succeeded
    assert summary.advice() == ""
    assert summary.as_json()["results"]["succeeded"] == 3


async def test_it_ends_when_patience_does() -> None:
    summary = await collected(Stream([result(at(0), "k0")]), three(), patience=0.05)
    assert (summary.missing, summary.succeeded) == (2, False)
    assert "2 results have not come" in summary.advice()


async def test_failures_go_to_their_own_file(tmp_path: Path) -> None:
    failed = result(at(1), "k1", "failed", error=failure("provider_failed"))
    letter = DeadLetter(at(2), "invalid_message", "tenant: missing")
    out, errors = tmp_path / "out", tmp_path / "errors"
    summary = await collected(Stream([result(at(0), "k0"), failed, letter]), three(), out=out, errors=errors)
    assert lines(out) == [result(at(0), "k0")]
    assert lines(errors)[0] == failed
    assert lines(errors)[1] == {
        "line": 3,
        "status": "dead_lettered",
        "error": {"code": "invalid_message", "field": None, "message": "tenant: missing"},
    }
    assert summary.statuses == {"succeeded": 1, "failed": 1, "dead_lettered": 1}


async def test_without_a_file_for_failures_nothing_is_lost(tmp_path: Path) -> None:
    stream = Stream([result(at(n), f"k{n}", "failed", error=failure("internal")) for n in range(3)])
    await collected(stream, three(), out=tmp_path / "out", format=Format.OPENAI_BATCH)
    assert [line["error"]["code"] for line in lines(tmp_path / "out")] == ["internal"] * 3


def test_refusals_are_shown_up_to_a_number() -> None:
    shown: list[str] = []
    with Sinks(None, None, say=shown.append) as sinks:
        for number in range(100):
            sinks.refuse(Refusal(number, "too_large", "The line is too large."))
    assert len(shown) == NAMED_REFUSALS + 1


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"), Sinks(tmp_path / "nowhere" / "out", None, say=print):
        pass


def test_notices_and_other_things_are_no_results() -> None:
    assert final_result(orjson.dumps(result())) == result()
    assert final_result(orjson.dumps({"event": "held", "record_id": "x"})) is None
    assert final_result(b"not json") is None
    assert final_result(b"[]") is None
    assert final_result(None) is None


def test_a_dead_letter_is_read_as_it_is_written() -> None:
    headers = dead_letter_headers(
        [("waybill-offset", b"9")],
        topic="waybill.requests",
        partition=3,
        offset=41,
        timestamp_ms=0,
        code=ErrorCode.INVALID_MESSAGE,
        reason="tenant: missing",
    )
    assert dead_letter(dict(headers)) == DeadLetter(at(41, partition=3), "invalid_message", "tenant: missing")
    assert dead_letter({}) is None
