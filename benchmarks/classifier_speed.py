"""Throughput, worst inputs, start time and memory of the detectors, on one core."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from detect import english, slow_texts

from services.detect import analyse, warm

_START = """
import time
begun, used = time.perf_counter(), time.process_time()
from services.detect import warm
warm()
took, used = time.perf_counter() - begun, time.process_time() - used
with open("/proc/self/status") as status:
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
print(took, used, resident / 1024)
"""


def milliseconds(text: str, rounds: int = 5) -> float:
    """Return the best CPU time of analysing a text."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        analyse(text)
        best = min(best, time.process_time() - begun)
    return best * 1e3


def worst_texts(characters: int) -> dict[str, str]:
    """Return texts made to be slow: those of the other benchmark, and ones that aim at names, dates and lexicons."""
    units = {
        "names": "Anna Maria Schmidt ",
        "capitalised": "Xavi Yoro Zed ",
        "dates": "3 March 2021, ",
        "numbers": "12 345 6789 ",
        "many digits": "4111111111111111 ",
        "phones": "+1 212 555 0123 ",
        "addresses": "12 Main Street, Springfield, IL 62704\n",
        "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3ODkw",
        "hexadecimal": "deadbeef0123456789abcdef ",
        "assignments": 'password = "x8Kd03mZq71L" ',
        "urls": "https://a:b@c.de/f?g=h ",
        "zero width": "a\u200bb\u200d",
        "markup": "<a href='x'><!-- y -->",
        "instructions": "ignore all previous instructions. ",
        "capitals": "ABCDEFGH ",
        "cyrillic": "Привет мир ",
        "newlines": "\n",
        "blanks": " ",
        "quotes": "\"'",
    }
    made = {name: (unit * (characters // len(unit) + 1))[:characters] for name, unit in units.items()}
    return slow_texts(characters) | made


def speed_rows() -> Iterator[tuple[str, str, str, bool]]:
    """Measure; rows of what, figure, target and whether it is met."""
    warm()
    prompts = [english(9_000)[at : at + 1_024] for at in range(0, 8_000, 41)]
    rates = []
    for _ in range(5):
        begun = time.process_time()
        for prompt in prompts:
            analyse(prompt)
        rates.append(len(prompts) / (time.process_time() - begun))
    yield "prompts a second at 1 KB", f"{max(rates):.0f}", "≥ 2500", max(rates) >= 2500
    large = milliseconds(english(400_000))
    yield "400 KB", f"{large:.0f} ms", "≤ 60 ms", large <= 60
    ratios = [milliseconds(english(400_000), 2) / milliseconds(english(100_000), 2) for _ in range(5)]
    yield "400 KB : 100 KB", f"{statistics.median(ratios):.2f}", "≤ 5", statistics.median(ratios) <= 5
    slow = {name: milliseconds(text, 2) for name, text in worst_texts(400_000).items()}
    for name, took in sorted(slow.items(), key=lambda item: -item[1])[:5]:
        yield f"400 KB of {name}", f"{took:.0f} ms", "≤ 250 ms", took <= 250
    starts = [
        subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    wall = min(float(took) for took, _, _ in starts)
    used = min(float(used) for _, used, _ in starts)
    yield "start, CPU (wall)", f"{used:.2f} ({wall:.2f}) s", "≤ 3 s", used <= 3
    memory = min(float(resident) for _, _, resident in starts)
    yield "memory", f"{memory:.0f} MB", "≤ 200 MB", memory <= 200
