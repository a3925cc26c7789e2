"""A notary in a process of its own: ``python notary_process.py DATABASE_URL FOLDER FAULTS``; prints what it signed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.runtime import faultpoints
from services.runtime.postgres import is_transient, open_pool
from support.notaries import notary

TRIES = 20


async def main(database_url: str, folder: Path, faults: Path) -> None:
    """Sign once, as often as it takes."""
    faultpoints.watch(faults)
    pool = await open_pool(database_url, service="test", size=2)
    try:
        for _ in range(TRIES):
            try:
                print((await notary(pool, folder).run_once()).size, flush=True)
                return
            except Exception as error:
                if not is_transient(error):
                    raise
    finally:
        pool.terminate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
