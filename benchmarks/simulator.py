"""How many calls a second the provider simulator sustains on one core, its ledger on.

The server runs on one core, this client on another. Requests are about 1 KB and all different; each connection has one
call in flight. Prints calls/s, the server's CPU time per call, and the answered calls' latency; afterwards checks that
every answered call is in the ledger.

    python -m benchmarks.simulator --seconds 5 --in-flight 64 128 256 512
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
import psutil
import uvloop

from services.standalone.simulator import read_ledger

_WARM_UP_S = 1.0
_PROMPT_CHARS = 900


@dataclass
class Load:
    """What the client has seen: answers, and the latency of each one while ``measuring``, in seconds."""

    answered: int = 0
    sent: int = 0
    measuring: bool = False
    latencies: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next call as soon as the last is answered."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first call."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of an answer; a whole one is counted and followed by the next call."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {head[:60]!r}")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self._load.answered += 1
        if self._load.measuring:
            self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._send()

    def _send(self) -> None:
        if self._transport is None:
            return
        self._load.sent += 1
        prompt = f"call {self._load.sent:012d} ".ljust(_PROMPT_CHARS, "x")
        body = orjson.dumps({"model": "sim-ok", "messages": [{"role": "user", "content": prompt}], "max_tokens": 200})
        self._sent_at = time.perf_counter()
        self._transport.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: simulator\r\nauthorization: Bearer sim\r\n"
            b"content-type: application/json\r\nx-waybill-attempt: %d\r\ncontent-length: %d\r\n\r\n%b"
            % (self._load.sent, len(body), body)
        )

    def finish(self) -> None:
        """Send nothing more and hang up."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


async def _measure(url: str, server: psutil.Process, in_flight: int, seconds: float) -> tuple[dict[str, float], int]:
    load = Load()
    host, _, port = url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(load), host, int(port)))[1] for _ in range(in_flight)
    ]
    await asyncio.sleep(_WARM_UP_S)
    load.measuring, before, cpu, began = True, load.answered, server.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    calls, took, after = load.answered - before, time.perf_counter() - began, server.cpu_times()
    for connection in connections:
        connection.finish()
    used = after.user + after.system - cpu.user - cpu.system
    latencies = sorted(load.latencies)
    return {
        "in_flight": in_flight,
        "calls_per_s": round(calls / took),
        "server_cpu_us_per_call": round(used / calls * 1e6, 1),
        "server_cpu_share": round(used / took, 2),
        "latency_p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
        "latency_p99_ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 2),
    }, load.answered


def main() -> None:
    """Start a simulator, load it at each concurrency, print one JSON line each, check the ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64, 128, 256, 512])
    options = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    answered = 0
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "charges.jsonl"
        command = [
            sys.executable,
            "-m",
            "services.standalone.simulator",
            "--ledger",
            str(ledger),
            "--latency-ms",
            "0:0",
        ]
        os.sched_setaffinity(0, {cores[0]})  # which the server inherits, threads included
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                url = orjson.loads(process.stdout.readline())["url"]
                os.sched_setaffinity(0, {cores[-1]})
                for in_flight in options.in_flight:
                    figures, calls = uvloop.run(_measure(url, psutil.Process(process.pid), in_flight, options.seconds))
                    answered += calls
                    print(orjson.dumps(figures).decode(), flush=True)
            finally:
                process.terminate()
        attempts = len(read_ledger(ledger))
    print(orjson.dumps({"answered": answered, "charged": attempts}).decode())
    if attempts < answered:
        raise SystemExit("a call was answered that is not in the ledger")


if __name__ == "__main__":
    main()
