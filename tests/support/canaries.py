"""Canaries: words that stand in content and nowhere else, and a search of every place where they must not be.

The search knows nothing of what a place should hold: every row of every table of every database, every message of every
topic, every line of every log, every page of metrics, every file of some folders. It says where, never what.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import asyncpg
from aiokafka import AIOKafkaConsumer

from schemas.topics import DEAD_LETTER, FEEDBACK, MIB, REQUESTS, RESULTS, TOPICS, Topic
from services.runtime.settings import Settings
from services.standalone.loopback import loopback_client
from support import sql
from support.logins import SERVICES
from support.offsets import partitions_of
from support.stack_running import PATIENCE_S, RunningStack

EDGE: Final = (REQUESTS, RESULTS, FEEDBACK, DEAD_LETTER)
"""Topics that hold content, for as long as they retain it."""
INTERNAL: Final = tuple(topic for topic in TOPICS if topic not in EDGE)
BOUND_S: Final = 120
_SQL: Final = sql.load("canaries")
_ROWS_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class Places:
    """Where a deployment could have left something."""

    databases: Sequence[str]
    """URLs, of a login that may read everything."""
    settings: Settings
    logs: Sequence[Path] = ()
    """Files, or folders of files, with one line for each event."""
    metrics: Sequence[str] = ()
    """URLs of pages."""
    folders: Sequence[Path] = ()
    """Folders whose files are searched as bytes."""
    topics: Sequence[Topic] = field(default=INTERNAL)

    @classmethod
    def of_stack(cls, stack: RunningStack, topics: Sequence[Topic] = INTERNAL) -> Self:
        """Return every place of a running stack but what its servers keep in files of their own."""
        folder = stack.stack.folder
        services = [process for process in stack.status().processes if process.name.split("-")[0] in SERVICES]
        return cls(
            databases=[stack.database_url],
            settings=stack.settings(),
            logs=[folder.root / "log", *sorted(folder.postgres.rglob("*.log")), *sorted(folder.kafka.glob("*.log"))],
            metrics=[f"http://{process.http_addr}/metrics" for process in services],
            folders=[folder.root / "spool", folder.checkpoints],
            topics=topics,
        )


async def places_with(*canaries: str, places: Places) -> list[str]:
    """Return every place that holds one of the canaries, whatever the case and as hex and base64 too, in words."""
    search = Search(canaries)
    found: list[str] = []
    async with asyncio.timeout(BOUND_S):
        for url in dict.fromkeys(places.databases):
            found += [place async for place in _tables(url, search)]
        for topic in places.topics:
            found += [place async for place in _messages(places.settings, topic, search)]
        found += [place async for place in _pages(places.metrics, search)]
    found += _log_lines(places.logs, search)
    found += _files(places.folders, search)
    return list(dict.fromkeys(found))


class Search:
    """Whether something holds a canary, in clear or in a form that anybody could undo."""

    def __init__(self, canaries: Sequence[str]) -> None:
        """Look for ASCII words of at least 8 characters: shorter ones come about by chance."""
        assert canaries
        assert all(word.isascii() and len(word) >= 8 for word in canaries)
        forms = [form for word in canaries for form in _forms(word.encode())]
        self._pattern = re.compile(b"|".join(map(re.escape, dict.fromkeys(forms))), re.IGNORECASE)

    def finds(self, text: str | bytes | None) -> bool:
        """Say whether a canary is in it."""
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return bool(content) and self._pattern.search(content or b"") is not None


def _forms(word: bytes) -> Iterator[bytes]:
    """Give a word as it is, as hex, and as the part of its base64 that is the same whatever stands around it."""
    yield word
    yield word.hex().encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + word)
        yield whole[(before * 8 + 5) // 6 : (before + len(word)) * 8 // 6]


async def _tables(url: str, search: Search) -> AsyncIterator[str]:
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(_SQL["tables"])
        assert tables
        for table in tables:
            async with connection.transaction(readonly=True):
                # All columns of a row as text; binary ones show as hex.
                async for row in connection.cursor(_SQL["rows"].format(table=table["name"]), prefetch=_ROWS_AT_ONCE):
                    if search.finds(row["line"]):
                        yield f"table {table['name']}"
                        break
    finally:
        await connection.close()


async def _messages(settings: Settings, topic: Topic, search: Search) -> AsyncIterator[str]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=25 * MIB,
    )
    async with consumer:
        partitions = await partitions_of(settings, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(*partitions, timeout_ms=1000)).values():
                for record in records:
                    parts = {"key": record.key, "value": record.value}
                    parts |= {f"header {name}": value for name, value in record.headers}
                    for part, content in parts.items():
                        if search.finds(content) or search.finds(part):
                            yield f"topic {topic.name}, {part.split()[0]}"


async def _pages(urls: Sequence[str], search: Search) -> AsyncIterator[str]:
    async with loopback_client(PATIENCE_S) as client:
        for url in urls:
            page = await client.get(url)
            if search.finds(page.raise_for_status().content):
                yield f"page {url}"


def _log_lines(logs: Sequence[Path], search: Search) -> Iterator[str]:
    for file in _files_of(logs):
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            if search.finds(line):
                yield f"log {file.name}, line {number}"


def _files(folders: Sequence[Path], search: Search) -> Iterator[str]:
    for file in _files_of(folders):
        if search.finds(file.read_bytes()) or search.finds(file.name):
            yield f"file {file.name}"


def _files_of(paths: Sequence[Path]) -> list[Path]:
    return sorted({f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file()})
