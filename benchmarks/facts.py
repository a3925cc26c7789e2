"""The questions of ``docs/questions`` on a million records: seconds of each, and how many partitions it read.

Six months are filled with one statement for each table; the questions ask for the last three. Then all of it is
exported, with what the export needed of memory.

    python -m benchmarks.facts [--records 1000000] [--json]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Bench, run_on_bench, statements
from services.cli import docs_record
from services.cli.export.run import Export, Month
from services.runtime.ids import now

SQL: Final = statements(Path(__file__).parent / "sql" / "facts.sql")
MORE: Final = (
    "view_of_cost_one_day",
    "view_of_fallbacks_one_week",
    "record_list_failed_last_day",
    "replays_of_one_record",
)
FACTS: Final = ("request_2", "attempt_2", "source_2")
"""How the names of monthly partitions begin."""
NO_TIMEOUT: Final = 3_600
MIB: Final = 1_024


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: the best of three runs."""

    name: str
    seconds: float
    partitions: int
    scans: str


@dataclass(frozen=True, slots=True)
class Exported:
    """The export of everything."""

    seconds: float
    rows: int
    megabytes: float
    peak_mib_more: float
    """What the peak of the process's memory rose by."""


async def fill(connection: asyncpg.Connection[Any], records: int) -> int:
    """Fill the facts, and return how many bytes they take."""
    await connection.execute(SQL["months"])
    await connection.execute(SQL["fill_requests"], records, timeout=NO_TIMEOUT)
    await connection.execute(SQL["fill_attempts"], timeout=NO_TIMEOUT)
    await connection.execute(SQL["settle"], timeout=NO_TIMEOUT)
    size: int = await connection.fetchval(SQL["size"])
    return size


async def ask(connection: asyncpg.Connection[Any], name: str, query: str) -> Asked:
    """Ask one question three times."""
    plans: list[dict[str, Any]] = []
    for _ in range(3):
        found = await connection.fetchval(SQL["plan"].format(query=query), timeout=NO_TIMEOUT)
        plans.append(orjson.loads(found)[0])
    best = min(plans, key=lambda plan: plan["Execution Time"])
    scans = [node for node in _nodes(best["Plan"]) if node.get("Relation Name", "").startswith(FACTS)]
    read = {node["Relation Name"] for node in scans if node["Actual Loops"]}
    kinds = sorted({node["Node Type"] for node in scans if node["Actual Loops"]})
    return Asked(name, round(best["Execution Time"] / 1000, 3), len(read), ", ".join(kinds))


async def export(database_url: str, folder: Path) -> Exported:
    """Export everything."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    months: list[Month] = []
    began = time.perf_counter()
    try:
        await Export(pool, folder, now).run(since=None, include_open=True, done=months.append)
    finally:
        await pool.close()
    seconds = time.perf_counter() - began
    files = [file for month in months if month.manifest for file in month.manifest.files]
    return Exported(
        round(seconds, 1),
        sum(file.rows for file in files),
        round(sum(file.bytes for file in files) / 1e6, 1),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB - before, 1),
    )


async def measure(bench: Bench, records: int) -> dict[str, Any]:
    """Fill a database, ask all questions, export it."""
    await bench.prepare()
    connection = await asyncpg.connect(bench.settings.database_url)
    try:
        began = time.perf_counter()
        size = await fill(connection, records)
        filled = time.perf_counter() - began
        queries = {**docs_record.questions(), **{name: SQL[name] for name in MORE}}
        asked = [asdict(await ask(connection, name, query)) for name, query in queries.items()]
    finally:
        await connection.close()
    with tempfile.TemporaryDirectory(prefix="waybill-export-") as folder:
        exported = await export(bench.around.database_url, Path(folder))
    return {
        "records": records,
        "fill_seconds": round(filled, 1),
        "megabytes": round(size / 1e6, 1),
        "asked": asked,
        "export": asdict(exported),
    }


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.facts")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = run_on_bench(lambda bench: measure(bench, arguments.records))
    console = Console()
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    table = Table("query", "seconds", "partitions read", "how", title=f"{arguments.records:,} records")
    for row in found["asked"]:
        table.add_row(row["name"], f"{row['seconds']:.3f}", str(row["partitions"]), row["scans"])
    console.print(table)
    console.print({key: value for key, value in found.items() if key != "asked"})


if __name__ == "__main__":
    main()
