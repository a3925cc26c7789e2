"""What it costs to find out what is in a text, in total and by part, on one core.

Run ``python benchmarks/detect.py``. Prints the best of several rounds: microseconds for 1 KB of English, milliseconds
for 400 KB of English and of texts made to be slow. The texts are made here, from the same seed every time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from services.detect import analyse, count_tokens, warm
from services.detect.injection import injection
from services.detect.language import language
from services.detect.lexicon import high_stakes_domains, task_family
from services.detect.patterns import pattern_detector
from services.detect.people import people
from services.detect.places import located

ROUNDS = 5

SENTENCES = (
    "The quarterly report shows that the northern region grew faster than anybody on the team had expected in March.",
    "Please summarise the following notes from the call and list what each person promised to do before Friday.",
    "Customers who wrote to us about late deliveries were mostly calm, although a few asked for their money back.",
    "You can reach the office at anna.larsen@example.com or on +44 20 7946 0018 between nine and five.",
    "We moved the warehouse from 12 Harbour Street to a larger building near the station, which opened in 2019.",
    "It was raining when the second train arrived, so the meeting began half an hour late and ended without result.",
    "The contract says that either side may end it with ninety days of notice, in writing, for any reason.",
)


def english(characters: int) -> str:
    """Return that many characters of plain sentences, one in seven with an address and a number in it."""
    pick = random.Random(7)
    parts: list[str] = []
    length = 0
    while length < characters:
        parts.append(pick.choice(SENTENCES))
        length += len(parts[-1]) + 1
    return " ".join(parts)[:characters]


def slow_texts(characters: int) -> dict[str, str]:
    """Return texts that make careless detectors slow, by what they are made of."""
    units = {
        "digits": "1",
        "digits and blanks": "4111 1111 ",
        "brackets": "[",
        "letters": "a",
        "dots": "a.",
        "mail addresses": "ab@example.com ",
        "phone numbers": "020 7946 0018 / ",
        "almost an IBAN": "GB29 NWBK ",
        "key headers": "-----BEGIN PRIVATE KEY-----\n",
        "emoji": "👩\u200d🚀 ab@example.com ",
    }
    return {name: (unit * (characters // len(unit) + 1))[:characters] for name, unit in units.items()}


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Return the CPU seconds of one call: the best round's average."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeat):
            call()
        best = min(best, (time.process_time() - start) / repeat)
    return best


def parts(text: str) -> dict[str, Callable[[], object]]:
    """Return what an analysis consists of, ready to call."""
    data = text.encode()
    return {
        "analyse": lambda: analyse(text),
        "  patterns": lambda: pattern_detector().find(text, data),
        "  tokens": lambda: count_tokens(text),
        "  language": lambda: language(text),
        "  task": lambda: task_family(data),
        "  domains": lambda: high_stakes_domains(data),
        "  injection": lambda: injection(text, data),
        "  people": lambda: people(text, 1000),
        "  places": lambda: located(text, 1000),
    }


def main() -> None:
    """Measure and print."""
    start = time.perf_counter()
    warm()
    print(f"warm {time.perf_counter() - start:.2f} s")

    print("\n1 KB of English, µs")
    for name, call in parts(english(1_024)).items():
        print(f"{name:<22}{seconds(call, 500) * 1e6:9.1f}")

    print("\n400 KB of English, ms")
    for name, call in parts(english(400_000)).items():
        print(f"{name:<22}{seconds(call, 2) * 1e3:9.2f}")

    print("\n400 KB made to be slow, ms (analyse)")
    for name, text in slow_texts(400_000).items():
        print(f"{name:<22}{seconds(partial(analyse, text), 1) * 1e3:9.2f}")


if __name__ == "__main__":
    main()
