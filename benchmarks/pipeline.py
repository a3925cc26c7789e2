"""Requests per second through the whole of Waybill, against the bare floor of the same hops.

Both run in turn on one embedded Postgres, Kafka and provider simulator, each with processes of its own that are gone
while the other runs. The clock runs from the first job published to the last result seen; every result is checked.

    python -m benchmarks.pipeline --requests 20000 --rounds 2 [--latency-ms 5:20] [--json]

The figure to look at is the ratio: this machine, the driver included, is shared by all. CPU times are microseconds per
request, of each process with all its children. ``others`` is what went to processes that are not ours: where it is
more than a little, measure again; until then the ratio by CPU, the floor's time over Waybill's, is the one to trust.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

import asyncpg
import orjson
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks import floor
from benchmarks.harness import Bench, BenchmarkError, Meter, Usage, jobs, run_on_bench, running
from schemas.codes import Status
from schemas.topics import REQUESTS, RESULTS
from services.standalone.process import ProcessSpec

SILENT_S: Final = 90.0
"""So long without a result, and the run is given up."""
SEND_AT_ONCE: Final = 500
BROKER_WARM_UP: Final = 10_000
"""Kafka's JVM compiles what it runs often: its first thousands of records cost many times what later ones do."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: its processes, from the first hop to the last, and its two ends."""

    name: str
    specs: tuple[ProcessSpec, ...]
    requests: str
    results: str
    check: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Run:
    """One round of one side."""

    side: str
    requests: int
    used: Usage
    database_bytes: int

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.used.seconds

    def microseconds(self, seconds: float) -> float:
        """Return CPU seconds as microseconds per request."""
        return seconds / self.requests * 1e6


class Driver:
    """The client: publishes jobs and waits for as many results."""

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, side: Side) -> None:
        """Use started clients; the consumer stands at the end of the side's results."""
        self._producer = producer
        self._consumer = consumer
        self._side = side

    async def carry(self, messages: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Publish all, return one result for each; raises :class:`BenchmarkError` after long silence."""
        publishing = asyncio.create_task(self._publish(messages))
        try:
            results = await self._results(len(messages))
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
        return results

    async def _publish(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        for start in range(0, len(messages), SEND_AT_ONCE):
            part = messages[start : start + SEND_AT_ONCE]
            sent = [await self._producer.send(self._side.requests, key=key, value=value) for key, value in part]
            await asyncio.gather(*sent)

    async def _results(self, count: int) -> list[bytes]:
        seen: dict[bytes, bytes] = {}
        loop = asyncio.get_running_loop()
        patience = loop.time() + SILENT_S
        while len(seen) < count:
            for records in (await self._consumer.getmany(timeout_ms=100, max_records=1_000)).values():
                seen.update((record.key, record.value) for record in records)
                patience = loop.time() + SILENT_S
            if loop.time() > patience:
                raise BenchmarkError(f"{self._side.name}: {len(seen)} of {count} results, then nothing for long")
        return list(seen.values())


@asynccontextmanager
async def driver(bench: Bench, side: Side) -> AsyncIterator[Driver]:
    """Connect a client to both ends of a side."""
    servers = bench.around.kafka_bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=512 * 1024)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    try:
        await producer.start()
        await consumer.start()
        partitions = await producer.partitions_for(side.results)
        consumer.assign([TopicPartition(side.results, number) for number in partitions])
        await consumer.seek_to_end()
        yield Driver(producer, consumer, side)
    finally:
        await consumer.stop()
        await producer.stop()


async def measure(bench: Bench, side: Side, simulator: psutil.Process, *, requests: int, warm_up: int) -> Run:
    """Start a side, warm it up, run it once, end it."""
    async with running(bench, side.specs) as processes, driver(bench, side) as client:
        await client.carry(jobs(warm_up))
        work = jobs(requests)
        before = await _database_bytes(bench)
        meter = Meter({**processes, **bench.servers, "simulator": simulator})
        results = await client.carry(work)
        used = meter.read()
        grown = await _database_bytes(bench) - before
    wrong = sum(not side.check(result) for result in results)
    if wrong:
        raise BenchmarkError(f"{side.name}: {wrong} of {requests} did not succeed")
    return Run(side.name, requests, used, grown)


async def _database_bytes(bench: Bench) -> int:
    connection = await asyncpg.connect(bench.settings.database_url)
    try:
        return int(await connection.fetchval(floor.SQL["database_bytes"]))
    finally:
        await connection.close()


def sides(bench: Bench) -> tuple[Side, Side]:
    """Return the floor and Waybill."""
    settings = bench.settings
    hops = tuple(bench.python(f"hop{number}", "-m", "benchmarks.floor", str(number)) for number in floor.HOPS)
    return (
        Side("floor", hops, floor.TOPICS[0], floor.TOPICS[-1], check=lambda value: "messages" in orjson.loads(value)),
        Side(
            "waybill",
            tuple(bench.services()),
            settings.topic(REQUESTS.name),
            settings.topic(RESULTS.name),
            check=lambda value: bool(orjson.loads(value)["status"] == Status.SUCCEEDED),
        ),
    )


async def compare(bench: Bench, options: argparse.Namespace) -> list[Run]:
    """Measure both sides in turn, every round."""
    await floor.create(bench.settings)
    await bench.prepare()
    runs: list[Run] = []
    async with running(bench, [bench.simulator("--latency-ms", options.latency_ms)]) as simulators:
        bare, _ = sides(bench)
        await measure(bench, bare, simulators["simulator"], requests=BROKER_WARM_UP, warm_up=options.warm_up)
        for number in range(options.rounds):
            for side in sides(bench):
                run = await measure(
                    bench, side, simulators["simulator"], requests=options.requests, warm_up=options.warm_up
                )
                sys.stderr.write(f"round {number + 1}, {side.name}: {run.per_second:.0f} requests/s\n")
                runs.append(run)
    return runs


# -- telling ------------------------------------------------------------------------------------------------------


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Return medians over the rounds: the ratio, and by side what a request took."""
    floors, waybills = ([run for run in runs if run.side == side] for side in ("floor", "waybill"))
    ratios = [run.per_second / bare_run.per_second for bare_run, run in zip(floors, waybills, strict=True)]
    bare, ours = _of_side(floors), _of_side(waybills)
    return {
        "ratio": round(median(ratios), 3),
        "cpu_ratio": round(bare["cpu_us_sum"] / ours["cpu_us_sum"], 3),
        "floor": bare,
        "waybill": ours,
    }


def _of_side(runs: Sequence[Run]) -> dict[str, Any]:
    def middle(value: Callable[[Run], float]) -> float:
        return round(median(value(run) for run in runs), 1)

    cpu = {name: middle(lambda run, name=name: run.microseconds(run.used.cpu[name])) for name in runs[0].used.cpu}  # type: ignore[misc]
    return {
        "requests_per_s": [round(run.per_second) for run in runs],
        "cpu_us": cpu,
        "cpu_us_sum": middle(lambda run: run.microseconds(sum(run.used.cpu.values()))),
        "others_us": middle(lambda run: run.microseconds(run.used.others)),
        "idle_percent": middle(lambda run: run.used.idle / run.used.seconds / (psutil.cpu_count() or 1) * 100),
        "database_bytes": middle(lambda run: run.database_bytes / run.requests),
    }


def table(found: dict[str, Any]) -> Table:
    """Return the summary for people."""
    ours, theirs = found["waybill"], found["floor"]
    shown = Table(
        "per request, median of rounds",
        title=f"waybill : floor = {found['ratio']:.2f}, by CPU {found['cpu_ratio']:.2f}",
    )
    for name in ("floor", "waybill"):
        shown.add_column(name, justify="right")
    shown.add_row("requests/s, by round", *(" ".join(map(str, side["requests_per_s"])) for side in (theirs, ours)))
    for (hop, floor_us), (service, waybill_us) in zip(theirs["cpu_us"].items(), ours["cpu_us"].items(), strict=True):
        label = service if hop == service else f"{service} ({hop})"
        shown.add_row(f"{label}, µs of CPU", f"{floor_us:.0f}", f"{waybill_us:.0f}")
    for label, name in (
        ("all of them, µs of CPU", "cpu_us_sum"),
        ("others on this machine, µs of CPU", "others_us"),
        ("idle, %", "idle_percent"),
        ("Postgres, bytes", "database_bytes"),
    ):
        shown.add_row(label, f"{theirs[name]:,.0f}", f"{ours[name]:,.0f}")
    return shown


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=500, metavar="REQUESTS")
    parser.add_argument("--latency-ms", default="5:20", metavar="LO:HI", help="of the simulated provider")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = run_on_bench(lambda bench: compare(bench, options))
    found = summary(runs)
    if options.json:
        print(orjson.dumps({**found, "runs": [asdict(run) for run in runs]}, option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
