"""``python -m services.standalone.simulator``: run the provider simulator until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import orjson
import uvloop

from services.runtime.errors import WaybillError
from services.standalone.simulator.server import start_simulator
from services.standalone.simulator.settings import MAX_LATENCY_MS, SimulatorSettings


def main() -> None:
    """Run until SIGTERM or SIGINT; a :class:`WaybillError` becomes two clear lines and exit status 1."""
    settings = _settings()
    try:
        uvloop.run(_serve(settings))
    except WaybillError as error:
        sys.stderr.write(f"provider simulator: {error}\n" + (f"  next: {error.hint}\n" if error.hint else ""))
        sys.exit(1)


async def _serve(settings: SimulatorSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = await start_simulator(settings)
    sys.stdout.write(orjson.dumps({"url": simulator.url}).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    await simulator.aclose()


def _settings() -> SimulatorSettings:
    parser = argparse.ArgumentParser(
        prog="python -m services.standalone.simulator",
        description="A simulated model provider in OpenAI's wire format. Prints its URL as JSON when ready.",
    )
    parser.add_argument(
        "--ledger", type=Path, required=True, metavar="FILE", help="append every charge to FILE (JSONL)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other answers (default: %(default)s)")
    parser.add_argument(
        "--latency-ms", type=_range, default=(5.0, 25.0), metavar="LO:HI", help="of ordinary models (default: 5:25)"
    )
    parser.add_argument(
        "--slow-ms", type=_milliseconds, default=2_000.0, metavar="MS", help="of sim-slow (default: 2000)"
    )
    parser.add_argument("--fault-rate", type=_share, default=0.0, metavar="X", help="share of failing calls, 0 to 1")
    given = parser.parse_args()
    return SimulatorSettings(
        ledger=given.ledger,
        host=given.host,
        port=given.port,
        seed=given.seed,
        latency_ms=given.latency_ms,
        slow_ms=given.slow_ms,
        fault_rate=given.fault_rate,
    )


def _milliseconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MAX_LATENCY_MS:
        raise argparse.ArgumentTypeError(f"0 to {MAX_LATENCY_MS:.0f} expected")
    return number


def _range(text: str) -> tuple[float, float]:
    low, separator, high = text.partition(":")
    latency = (_milliseconds(low), _milliseconds(high if separator else low))
    if latency[0] > latency[1]:
        raise argparse.ArgumentTypeError("LO:HI with LO up to HI expected")
    return latency


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("0 to 1 expected")
    return number


if __name__ == "__main__":
    main()
