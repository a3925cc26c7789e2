"""Verification: how many entries a second `waybill verify` reads and compares, and how long the notary takes for them.

Fills a database of its own with records of seven entries each, their data as the services write it, has the notary sign
them, and verifies all. CPU is that of this process alone, which verifies; the database works beside it.

    python -m benchmarks.verify [--records 60000] [--json]
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from benchmarks.harness import ROOT, Bench, BenchmarkError, run_on_bench
from schemas.messages import Head
from services.cli.verification.walk import SESSION, Walk
from services.proof.folder import CheckpointFolder
from services.proof.note import SigningKey
from services.proof.pack import Log
from services.recorder.notary import Notary
from services.runtime import ledger
from services.runtime.ids import new_record_id, now
from services.runtime.ledger import ChainWriter
from services.runtime.postgres import open_pool

SAMPLES: Final = ROOT / "schemas" / "history" / "v1"
STAGES: Final = (
    ("received", "classified-full"),
    ("decided",),
    ("attempt_started",),
    ("attempt_finished", "validated"),
    ("sealed",),
)
"""What one stage appends in one transaction, by the name of the sample."""
SLICE: Final = 500


def samples() -> Mapping[str, Any]:
    """Return the data of each kind of entry."""
    names = [name for stage in STAGES for name in stage]
    return {name: orjson.loads((SAMPLES / f"entry_{name}.json").read_bytes())["data"] for name in names}


async def fill(pool: asyncpg.Pool[Any], records: int) -> None:
    """Append records, stage by stage."""
    data = samples()
    for first in range(0, records, SLICE):
        heads: dict[Any, Head | None] = {new_record_id(): None for _ in range(min(SLICE, records - first))}
        for stage in STAGES:
            writers = {record_id: ChainWriter(record_id, head) for record_id, head in heads.items()}
            at = now()
            for writer in writers.values():
                for name in stage:
                    writer.add(name.partition("-")[0], {**data[name], "nonce": secrets.token_hex(8)}, at)
            async with pool.acquire() as connection:
                chains = [ledger.writes(writer, heads[record_id], at) for record_id, writer in writers.items()]
                if await ledger.append(connection, chains):
                    raise BenchmarkError("entries were refused")
            for record_id, writer in writers.items():
                last = writer.entries[-1].head
                heads[record_id] = Head(seq=last.seq, hash=last.hash)


async def measure(bench: Bench, records: int) -> dict[str, float]:
    """Return what each step took."""
    await bench.prepare()
    key = SigningKey("benchmark", Ed25519PrivateKey.generate())
    folder = CheckpointFolder(Path(bench.around.folder.root) / "checkpoints", key.public)
    # One login for everything: entries of all services, positions, and reading them.
    url = bench.settings.database_url
    pool = await open_pool(url, service="benchmark", size=3, session=SESSION)
    try:
        await fill(pool, records)
        began = time.perf_counter()
        newest = await Notary(pool, key, folder, now).run_once()
        signed = time.perf_counter()
        cpu = time.process_time()
        found = await Walk(pool, folder.history(), Log.empty()).run()
        cpu = time.process_time() - cpu
        seconds = time.perf_counter() - signed
    finally:
        await pool.close()
    if found.faults or found.entries != newest.size:
        raise BenchmarkError(f"not intact: {[str(fault) for fault in found.faults[:3]]}")
    return {
        "entries": newest.size,
        "signed_per_s": newest.size / (signed - began),
        "verified_per_s": newest.size / seconds,
        "verified_per_cpu_s": newest.size / cpu,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000, help="of seven entries each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = run_on_bench(lambda bench: measure(bench, options.records))
    if options.json:
        print(orjson.dumps(measured, option=orjson.OPT_INDENT_2).decode())
        return
    shown = Table("measured", "")
    for name, value in measured.items():
        shown.add_row(name.replace("_", " "), f"{value:,.0f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
