"""Reading lines: numbers, sizes, ends; and what native lines become."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_samples import batch_line

from services.cli.publishing import native
from services.cli.publishing.items import Item, Refusal
from services.cli.publishing.lines import (
    MAX_LINE_BYTES,
    Format,
    InputUnreadableError,
    Line,
    LineSplitter,
    detect,
    open_source,
    read_lines,
    size_of,
)


def split(*chunks: bytes, limit: int = 10) -> list[tuple[int, bytes | None]]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [(line.number, line.raw) for line in [*lines, *splitter.finish()]]


def test_empty_lines_count_and_are_left_out() -> None:
    assert split(b"a\n\n  \nb\r\n\r\nc") == [(1, b"a"), (4, b"b"), (6, b"c")]


def test_a_byte_order_mark_is_no_content() -> None:
    assert split(b"\xef\xbb\xbfa\n") == [(1, b"a")]


def test_a_line_that_is_too_large_is_named_and_not_kept() -> None:
    assert split(b"a\n" + b"x" * 11, b"x" * 50, b"\nb\n") == [(1, b"a"), (2, None), (3, b"b")]
    assert split(b"x" * 10 + b"\n") == [(1, b"x" * 10)]
    assert split(b"x" * 11) == [(1, None)]


@given(st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")), max_size=8), st.integers(1, 9))
def test_where_chunks_end_does_not_matter(lines: list[bytes], size: int) -> None:
    text = b"\n".join(lines)
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert split(*chunks) == split(text)


async def test_a_pipe_and_a_file_read_alike(tmp_path: Path) -> None:
    text = b'{"a":1}\n\n{"b":2}'
    (tmp_path / "jobs").write_bytes(text)
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    with open_source(tmp_path / "jobs") as file:
        assert size_of(file) == len(text)
        from_file = [line async for line in read_lines(file)]
    pipe = os.fdopen(reading, "rb")
    assert size_of(pipe) is None
    assert [line async for line in read_lines(pipe)] == from_file == [Line(1, b'{"a":1}'), Line(3, b'{"b":2}')]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputUnreadableError, match="nowhere"):
        open_source(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (orjson.dumps(batch_line()), Format.OPENAI_BATCH),
        (b'{"tenant":"demo","metadata":{"custom_id":"x","url":"y","method":"z"}}', Format.NATIVE),
        (b"not json", Format.NATIVE),
        (b"[]", Format.NATIVE),
        (None, Format.NATIVE),
    ],
)
def test_the_first_line_tells_the_format(raw: bytes | None, expected: Format) -> None:
    assert detect(Line(1, raw)) is expected


@pytest.mark.parametrize(
    ("raw", "tenant", "key"),
    [
        (b'{ "tenant": "demo", "idempotency_key" : "k\xc3\xa9" , "tail": 1.0 }', "demo", "ké"),
        (b'{"tenant": 7, "idempotency_key": 7}', None, None),
        (b"{not json", None, None),
        (b"[1]", None, None),
        (b"\xff\xfe", None, None),
    ],
)
def test_native_bytes_are_published_as_they_are(raw: bytes, tenant: str | None, key: str | None) -> None:
    item = native.read(Line(5, raw))
    assert item == Item(5, raw, tenant, key)
    assert item.kafka_key == (None if key is None else key.encode())


def test_a_native_line_over_the_limit_is_refused() -> None:
    refusal = native.read(Line(5, None))
    assert isinstance(refusal, Refusal)
    assert str(refusal) == "line 5: The line is larger than the topic's 24 MiB."
    assert MAX_LINE_BYTES > 16 * 1024 * 1024, "what Waybill itself rejects as too_large must reach it"
