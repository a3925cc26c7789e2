"""A notary in a process of its own, which prints how many entries it signed.

``python notary_process.py DATABASE_URL FOLDER FAULTS ENTRIES``
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.runtime import faultpoints
from services.runtime.postgres import is_transient, open_pool
from support.notaries import BOUND_S, notary


async def main(database_url: str, folder: Path, faults: Path, entries: int) -> None:
    """Sign so many entries, as often as it takes; others may have signed more."""
    faultpoints.watch(faults)
    pool = await open_pool(database_url, service="test", size=2)
    try:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    newest = await notary(pool, folder).run_once()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    continue
                if newest.size >= entries:
                    print(newest.size, flush=True)
                    return
                await asyncio.sleep(0.05)
    finally:
        pool.terminate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
