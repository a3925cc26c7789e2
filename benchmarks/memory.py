"""Memory of each service: at rest after its start, with a thousand calls in flight, and when they have ended.

RSS counts every page that a process has, USS only those that are its own; both in MiB.

    python -m benchmarks.memory [--in-flight 1000] [--seconds 20] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import httpx
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Bench, BenchmarkError, jobs, run_on_bench, running
from schemas.topics import REQUESTS
from services.runtime.kafka import Outgoing, Producer

POLL_S: Final = 0.1
PATIENCE_S: Final = 60.0
GAUGE: Final = "waybill_executor_state"
Memory = dict[str, dict[str, float]]
"""``rss`` and ``uss`` in MiB, by process."""


def memory(processes: Mapping[str, psutil.Process]) -> Memory:
    """Look at each process."""
    used: Memory = {}
    for name, process in processes.items():
        info = process.memory_full_info()
        used[name] = {"rss": round(info.rss / 2**20, 1), "uss": round(info.uss / 2**20, 1)}
    return used


async def watch(bench: Bench, in_flight: int, seconds: float) -> dict[str, Memory]:
    """Return what each service holds at the three moments."""
    await bench.prepare()
    # Without proxies that the environment names: all of this is on the loopback interface.
    async with (
        running(bench, [bench.simulator("--slow-ms", str(seconds * 1_000))]),
        running(bench, bench.services()) as services,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        moments = {"at rest": memory(services)}
        await _publish(bench, in_flight)
        await _until(lambda: _charged(client, bench), lambda calls: calls == in_flight, PATIENCE_S)
        if await _in_work(client, bench) != in_flight:
            raise BenchmarkError(f"calls ended before all {in_flight} were in flight", hint="Give more --seconds.")
        moments[f"{in_flight} in flight"] = memory(services)
        await _until(lambda: _in_work(client, bench), lambda calls: calls == 0, seconds + PATIENCE_S)
        moments["afterwards"] = memory(services)
    return moments


async def _publish(bench: Bench, count: int) -> None:
    producer = Producer(bench.settings, "benchmark")
    await producer.start()
    try:
        topic = bench.settings.topic(REQUESTS.name)
        await producer.send(Outgoing(topic, key, value) for key, value in jobs(count, alias="sim-slow"))
    finally:
        await producer.stop()


async def _in_work(client: httpx.AsyncClient, bench: Bench) -> float:
    """Return how many records the executor has in work."""
    address = next(spec.http_addr for spec in bench.services() if spec.name == "executor")
    answer = await client.get(f"http://{address}/metrics")
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == GAUGE and sample.labels.get("name") == "in_flight":
                return sample.value
    raise BenchmarkError(f"the executor shows no {GAUGE}")


async def _charged(client: httpx.AsyncClient, bench: Bench) -> float:
    """Return how many calls have reached the simulator: it charges first and answers later."""
    answer = await client.get(f"{bench.plan.simulator_url}/sim/ledger/summary")
    return float(answer.json()["charges"])


async def _until(value: Callable[[], Awaitable[float]], fits: Callable[[float], bool], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                last = await value()
                if fits(last):
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise BenchmarkError(f"{last:.0f} calls after {seconds:.0f} s") from None


def table(moments: Mapping[str, Memory]) -> Table:
    """Return the moments for people: RSS, and USS in brackets."""
    shown = Table("MiB, RSS (USS)")
    for moment in moments:
        shown.add_column(moment, justify="right")
    for service in next(iter(moments.values())):
        cells = (found[service] for found in moments.values())
        shown.add_row(service, *(f"{cell['rss']:.0f} ({cell['uss']:.0f})" for cell in cells))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=1_000, help="at most WAYBILL_MAX_IN_FLIGHT, 1000 by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each call takes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    moments = run_on_bench(lambda bench: watch(bench, options.in_flight, options.seconds))
    if options.json:
        print(orjson.dumps(moments, option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(moments))


if __name__ == "__main__":
    main()
