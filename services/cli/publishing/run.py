"""One run: lines in, messages out, and if asked for, results awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Protocol

from services.cli.publishing import native, openai_batch
from services.cli.publishing.address import SHARED, Address
from services.cli.publishing.client import Publisher
from services.cli.publishing.expected import Expected
from services.cli.publishing.items import Item, Position, Refusal
from services.cli.publishing.lines import Format, Line, detect, read_lines
from services.cli.publishing.sinks import Sinks
from services.cli.publishing.summary import DEAD_LETTERED, Summary
from services.cli.publishing.watch import DeadLetter, Watch
from services.runtime.settings import Settings


class Messages(Protocol):
    """Where results come from; :class:`~services.cli.publishing.watch.Watch` is the real one."""

    async def read(self, seconds: float) -> list[dict[str, Any] | DeadLetter]:
        """Return what came, after at most ``seconds``."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a run is asked to do."""

    source: BinaryIO
    format: Format | None
    """None: by the first line."""
    defaults: Callable[[Format], openai_batch.Defaults | None]
    """Called with the format once it is known; raises where the options do not fit it."""
    wait: bool
    patience: timedelta
    """How long to wait after the last line."""
    address: Address = SHARED
    """Where to, and as whom."""


async def execute(
    settings: Settings, request: Request, sinks: Sinks, summary: Summary, progress: Callable[[Summary], None]
) -> None:
    """Publish, and wait if asked to; ``summary`` tells at any moment how far it came.

    Raises what :mod:`.client`, :mod:`.watch` and ``request.defaults`` raise.
    """
    expected = Expected()
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(Watch(settings, request.address)) if request.wait else None
        await _publish(settings, request, sinks, summary, progress, expected)
        if watch is not None:
            await collect(watch, expected, sinks, summary, patience=request.patience, progress=progress)


async def _publish(
    settings: Settings,
    request: Request,
    sinks: Sinks,
    summary: Summary,
    progress: Callable[[Summary], None],
    expected: Expected,
) -> None:
    started = time.monotonic()

    def acknowledged(item: Item, position: Position) -> None:
        summary.published += 1
        summary.publish_seconds = time.monotonic() - started
        if request.wait:
            expected.add(item, position)
        progress(summary)

    async with Publisher(settings, request.address) as publisher:
        await publisher.publish(items(request, sinks, summary), acknowledged)


async def items(request: Request, sinks: Sinks, summary: Summary) -> AsyncIterator[Item]:
    """Yield what is to be published of the request's lines; refusals go to the sinks."""
    read: Callable[[Line], Item | Refusal] | None = None
    async for line in read_lines(request.source):
        if read is None:
            sinks.format = request.format or detect(line)
            summary.format = sinks.format
            read = _reader(sinks.format, request.defaults(sinks.format))
        summary.lines += 1
        outcome = read(line)
        if isinstance(outcome, Item):
            yield outcome
        else:
            summary.refused += 1
            sinks.refuse(outcome)


def _reader(format: Format, defaults: openai_batch.Defaults | None) -> Callable[[Line], Item | Refusal]:
    if format is Format.NATIVE:
        return native.read
    assert defaults is not None, "batch lines need a tenant"
    return lambda line: openai_batch.translate(line, defaults)


async def collect(
    messages: Messages,
    expected: Expected,
    sinks: Sinks,
    summary: Summary,
    *,
    patience: timedelta,
    progress: Callable[[Summary], None],
) -> None:
    """Take results until every line has one or ``patience`` has passed; what is missing stays in ``expected``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience.total_seconds()
    while expected and (left := deadline - loop.time()) > 0:
        for message in await messages.read(min(left, 1.0)):
            if isinstance(message, DeadLetter):
                _bury(message, expected, sinks, summary)
            else:
                _settle(message, expected, sinks, summary)
        progress(summary)


def _settle(document: dict[str, Any], expected: Expected, sinks: Sinks, summary: Summary) -> None:
    settled = expected.settle(document)
    if not settled:
        return
    # One record answers for all of them: its cost was paid once.
    summary.cost_usd += Decimal(str(document.get("cost_usd", 0)))
    for waiting in settled:
        summary.statuses[document["status"]] += 1
        sinks.settle(waiting, document)


def _bury(letter: DeadLetter, expected: Expected, sinks: Sinks, summary: Summary) -> None:
    waiting = expected.settle_position(letter.position)
    if waiting is not None:
        summary.statuses[DEAD_LETTERED] += 1
        sinks.bury(waiting, letter)
