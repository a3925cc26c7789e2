"""One polled batch, from bytes to acknowledged messages, with a stage and a producer in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from runtime_memory_consumer import Record, record_of
from runtime_settings import make_settings

from schemas.codes import ErrorCode
from services.runtime.host import Host
from services.runtime.kafka import Outgoing, ProducerBrokenError
from services.runtime.microbatch import MicroBatch, UnreadableError
from services.runtime.slices import MAX_BYTES, MAX_RECORDS
from services.runtime.telemetry import Telemetry

REQUESTS = TopicPartition("waybill.requests", 3)


class MemoryProducer:
    """Keeps what was sent, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[Outgoing]] = []
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Acknowledge all, or fail."""
        self.asked.set()
        await self.acknowledges.wait()
        if self.error is not None:
            raise self.error
        self.batches.append(list(messages))

    @property
    def sent(self) -> list[Outgoing]:
        """Everything, in order."""
        return [message for batch in self.batches for message in batch]


class Stage:
    """Reads text; ``bad`` cannot be read, ``poison`` is what the database refuses."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.error: Exception | None = None

    def read(self, record: Record) -> str:
        """Return the text."""
        text = (record.value or b"").decode()
        if text == "bad":
            raise UnreadableError(ErrorCode.INVALID_MESSAGE, "not a job")
        return text

    async def run(self, items: Sequence[str]) -> Sequence[Outgoing]:
        """Answer each."""
        self.runs.append(list(items))
        if self.error is not None:
            raise self.error
        if "poison" in items:
            raise asyncpg.CharacterNotInRepertoireError
        return [Outgoing("next", None, item.encode()) for item in items]

    async def poisoned(self, item: str, error: BaseException) -> Sequence[Outgoing]:
        """Answer the culprit."""
        assert isinstance(error, asyncpg.CharacterNotInRepertoireError)
        return [Outgoing("failed", None, item.encode())]


class Bench:
    """A micro-batch consumer with all that it needs."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.producer = MemoryProducer()
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        nobody: Any = None
        producer: Any = self.producer
        self.telemetry = Telemetry("test")
        self.batch = MicroBatch(
            self.stage,
            Host(
                service="router",
                settings=make_settings(),
                telemetry=self.telemetry,
                broker=nobody,
                producer=producer,
                pool=nobody,
                keyring=nobody,
                tenant_keys=nobody,
                wakeups=nobody,
                tenants=nobody,
                failure=self.failure,
            ),
        )

    async def handle(self, *texts: str) -> None:
        """Handle one polled batch."""
        await self.batch.handle([record_of(REQUESTS, 40 + n, text.encode()) for n, text in enumerate(texts)])


@pytest.fixture
async def bench() -> Bench:
    """A fresh consumer."""
    return Bench()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The backoffs that were waited for; none of them takes time."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


async def test_a_batch_is_one_run_and_one_send(bench: Bench) -> None:
    await bench.handle("a", "b", "c")

    assert bench.stage.runs == [["a", "b", "c"]]
    assert [[message.value for message in batch] for batch in bench.producer.batches] == [[b"a", b"b", b"c"]]
    assert bench.telemetry.registry.get_sample_value("waybill_test_messages_total") == 3.0


async def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on(bench: Bench) -> None:
    await bench.handle("a", "bad", "b")

    letter = next(message for message in bench.producer.sent if message.topic == "waybill.dead-letter")
    assert (letter.key, letter.value) == (b"k", b"bad")
    assert dict(letter.headers) == {
        "trace": b"1",
        "waybill-topic": b"waybill.requests",
        "waybill-partition": b"3",
        "waybill-offset": b"41",
        "waybill-timestamp": b"1700000000000",
        "waybill-code": b"invalid_message",
        "waybill-reason": b"not a job",
    }
    assert [message.value for message in bench.producer.sent if message.topic == "next"] == [b"a", b"b"]


async def test_a_batch_of_dead_letters_runs_nothing(bench: Bench) -> None:
    await bench.handle("bad", "bad")

    assert bench.stage.runs == []
    assert len(bench.producer.sent) == 2


async def test_a_record_without_a_value_is_read_too(bench: Bench) -> None:
    await bench.batch.handle([record_of(REQUESTS, 0, None, None)])

    assert bench.stage.runs == [[""]]


async def test_the_row_that_the_database_refuses_is_isolated(bench: Bench) -> None:
    await bench.handle("a", "poison", "b", "c", "poison")

    assert [(message.topic, message.value) for message in bench.producer.sent] == [
        ("next", b"a"),
        ("failed", b"poison"),
        ("next", b"b"),
        ("next", b"c"),
        ("failed", b"poison"),
    ]


async def test_a_batch_goes_in_slices_each_sent_before_the_next_is_run(bench: Bench) -> None:
    await bench.handle(*["x"] * (MAX_RECORDS + 1))
    assert [len(run) for run in bench.stage.runs] == [MAX_RECORDS, 1]
    assert [len(batch) for batch in bench.producer.batches] == [MAX_RECORDS, 1]

    bench.stage.runs.clear()
    await bench.handle("x" * (MAX_BYTES // 2 + 1), "x" * (MAX_BYTES // 2))
    assert [len(run) for run in bench.stage.runs] == [1, 1]


@pytest.mark.parametrize(
    "error", [asyncpg.CannotConnectNowError(), ConnectionResetError(), asyncpg.UndefinedTableError()]
)
async def test_an_error_of_the_surroundings_waits_longer_each_time_and_gives_the_batch_back(
    bench: Bench, waits: list[float], error: Exception
) -> None:
    bench.stage.error = error
    for _ in range(7):
        with pytest.raises(type(error)):
            await bench.handle("a", "b")

    assert waits == [0.25, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert bench.producer.sent == []
    assert not bench.failure.done()

    bench.stage.error = None
    await bench.handle("a", "b")
    bench.stage.error = error
    with pytest.raises(type(error)):
        await bench.handle("a")
    assert waits[-1] == 0.25


async def test_a_send_that_fails_gives_the_batch_back(bench: Bench, waits: list[float]) -> None:
    bench.producer.error = ConnectionResetError()

    with pytest.raises(ConnectionResetError):
        await bench.handle("a")

    assert waits == [0.25]
    assert not bench.failure.done()


async def test_a_broken_producer_ends_the_process(bench: Bench, waits: list[float]) -> None:
    broken = bench.producer.error = ProducerBrokenError()

    with pytest.raises(ProducerBrokenError):
        await bench.handle("a")

    assert bench.failure.result() is broken


async def test_being_cancelled_is_no_failure(bench: Bench, waits: list[float]) -> None:
    bench.producer.acknowledges.clear()
    handling = asyncio.create_task(bench.handle("a"))
    await bench.producer.asked.wait()
    handling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await handling
    assert waits == []
