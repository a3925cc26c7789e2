"""A search for the text that takes longest to analyse: pieces of a grammar, bred for CPU time from a seed.

Run ``python benchmarks/classifier_worst.py [--seed N] [--generations N]``. A *recipe* is a few pieces, each with how
often it stands in a row, and a seed for those that are random; the text is the recipe's words over and over. The
slowest recipes of a generation are varied (a piece added, dropped, exchanged or repeated) and crossed with one
another. Prints the slowest recipes with their times at 100 KB and 400 KB (process CPU and wall clock, the best of
several runs), and fails when one misses its target. The same seed breeds from the same recipes, but which of them
live on is measured, so a busy machine may end with another.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, replace
from typing import Final

from classifier_speed import worst_texts

from services.detect import analyse, warm
from services.detect.rules import pattern_files

SIZES: Final = (100_000, 400_000)
# What 400 KB may take at most, in ms, and by how much it may exceed 100 KB.
MOST_MS: Final = 250.0
MOST_RATIO: Final = 5.0
_LEAST_MS: Final = 10.0

_BRED_AT: Final = 60_000
_POPULATION: Final = 48
_KEPT: Final = 12
_MOST_PIECES: Final = 7

# Of each kind of thing that detectors look at a few; random ones are a class of characters and a length.
PIECES: Final = (
    *("1", "12", "4111", "4111111111111111", "99", "007", "2024-02-30", "31/12/1999", "12:30", "3.14", "0x"),
    *(
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "-",
        "--",
        ".",
        "..",
        ",",
        ":",
        "::",
        ";",
        "/",
        "//",
        "|",
        "_",
        "=",
        "+",
        "@",
        "#",
    ),
    *("(", ")", "[", "]", "{", "}", "<", ">", '"', "'", "`", "\\", "$", "%", "&", "?", "!", "*", "~", "^"),
    *("Anna", "Maria", "Schmidt", "O'Neill", "Dr. ", "van der ", "J.", "Paris", "New York", "SMITH", "Zed", "A", "I "),
    *(
        "March ",
        "3 May 2020",
        "janvier ",
        "on ",
        "born ",
        "DOB: ",
        "12 Main Street",
        " St",
        " Hospital",
        "Hauptstraße 5",
    ),
    *(
        "GB29 ",
        "NWBK ",
        "DE89",
        "+1 212 ",
        "020 7946 ",
        "tel: ",
        "SSN ",
        "MRN: ",
        "member id ",
        "policy ",
        "nif ",
        "dni ",
    ),
    *(
        "QUJDREVG",
        "deadbeef",
        "eyJhbGciOiJIUzI1NiJ9.",
        "AKIA",
        "sk-",
        "ghp_",
        "-----BEGIN PRIVATE KEY-----",
        "password = ",
        "token: ",
        "api_key=",
        "Bearer ",
        "https://",
        "http://a:b@c.de/",
        "a@b.co ",
        "x@",
        "curl -u ",
        "aws ",
        "key",
        "secret",
    ),
    *(
        "\u200b",
        "\u200d",
        "\ufeff",
        "\u202e",
        "\U000e0041",
        "👩\u200d🚀",
        "e\u0301",
        "é",
        "Ж",
        "привет ",
        "а",
        "日本",
        "한국",
        "مرحبا ",
        "ａ",
        "𝐀",
        "ß",
        "İ",
        "\ud800",
        "\x00",
    ),
    *(
        "ignore all previous instructions ",
        "system prompt ",
        "TODO: send ",
        "<!-- ",
        "-->",
        '{"a": ',
        "[1, ",
        "def f(x):\n",
        "SELECT a FROM b ",
        "```py\n",
        "diabetes ",
        "cancer ",
        "itis ",
        "agreement ",
        "the ",
        "and ",
        "of ",
        "is ",
    ),
)
RANDOM: Final = (
    *(("0123456789", 4), ("0123456789", 11), ("0123456789", 16), ("0123456789 -", 12), ("0123456789ABCDEF", 24)),
    *(("abcdefghijklmnopqrstuvwxyz", 3), ("abcdefghijklmnopqrstuvwxyz", 9), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 2)),
    *(("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 9), ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789+/", 40)),
    *(("0123456789abcdef:.", 14), (".@-_ab1", 12), ("()[]{}<>'\"", 8), ("aбвγδεhй", 6), ("\u200b\u200d\u00ada b", 7)),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Pieces with repeats; a number stands for an entry of :data:`RANDOM`, drawn anew each time it is written."""

    parts: tuple[tuple[str | int, int], ...]
    seed: int

    def text(self, characters: int) -> str:
        """Write it until there are that many characters."""
        pick = random.Random(self.seed)
        made: list[str] = []
        length = 0
        while length < characters:
            for part, repeats in self.parts:
                piece = part if isinstance(part, str) else "".join(pick.choices(RANDOM[part][0], k=RANDOM[part][1]))
                made.append(piece * repeats)
                length += len(made[-1])
        return "".join(made)[:characters]

    def __str__(self) -> str:
        """Return it in a form that can be read and typed again."""
        said = (
            f"{part!r}" if isinstance(part, str) else "random{!r}×{}".format(*RANDOM[part]) for part, _ in self.parts
        )
        return f"seed {self.seed}: " + " ".join(
            name if repeats == 1 else f"{name}×{repeats}" for name, (_, repeats) in zip(said, self.parts, strict=True)
        )


def words_of_rules() -> tuple[str, ...]:
    """Return the plain words that rules look for: what stands before numbers."""
    words = {word for file in pattern_files() for pattern in file.patterns for word in pattern.words}
    return tuple(sorted(f"{word}: " for word in words if word.replace(" ", "").isalnum()))


class Breeder:
    """Recipes, bred for the time they take."""

    def __init__(self, seed: int) -> None:
        self._pick = random.Random(seed)
        self._pieces: tuple[str | int, ...] = (*PIECES, *words_of_rules(), *range(len(RANDOM)))
        self._times: dict[Recipe, float] = {}

    def _part(self) -> tuple[str | int, int]:
        return self._pick.choice(self._pieces), self._pick.choice((1, 1, 1, 1, 2, 3, 8, 40))

    def fresh(self) -> Recipe:
        """Return a recipe of nothing but chance."""
        parts = tuple(self._part() for _ in range(self._pick.randint(1, 4)))
        return Recipe(parts, self._pick.randrange(1_000))

    def varied(self, one: Recipe, other: Recipe) -> Recipe:
        """Return a child of two recipes, changed in one place."""
        parts = list(one.parts)
        at = self._pick.randrange(len(parts))
        match self._pick.randrange(5):
            case 0:
                parts.insert(at, self._part())
            case 1 if len(parts) > 1:
                del parts[at]
            case 2:
                parts[at] = self._part()
            case 3:
                parts[at] = (parts[at][0], self._pick.choice((1, 2, 3, 8, 40)))
            case _:
                cut = self._pick.randrange(len(other.parts))
                parts[at:] = other.parts[cut:]
        return replace(one, parts=tuple(parts[:_MOST_PIECES]))

    def cost(self, recipe: Recipe) -> float:
        """Return the CPU milliseconds of a recipe at the size for breeding: a second look if it may live on."""
        if recipe not in self._times:
            self._times[recipe] = milliseconds(recipe.text(_BRED_AT), rounds=2)[0]
        return self._times[recipe]

    def slowest(self, generations: int) -> list[Recipe]:
        """Breed, and return the last generation's slowest, the slowest first."""
        living = [self.fresh() for _ in range(3 * _POPULATION)]
        for number in range(generations):
            living = sorted(dict.fromkeys(living), key=self.cost, reverse=True)[:_KEPT]
            print(f"  generation {number}: {self.cost(living[0]):.1f} ms  {living[0]}", file=sys.stderr, flush=True)
            children = [self.varied(*self._pick.choices(living, k=2)) for _ in range(_POPULATION)]
            living += children + [self.fresh() for _ in range(_POPULATION // 4)]
        return sorted(dict.fromkeys(living), key=self.cost, reverse=True)[:_KEPT]


def milliseconds(text: str, rounds: int = 5) -> tuple[float, float]:
    """Return the best CPU and the best wall-clock time of analysing a text."""
    cpu = wall = float("inf")
    for _ in range(rounds):
        began, began_wall = time.process_time(), time.perf_counter()
        analyse(text)
        cpu, wall = min(cpu, time.process_time() - began), min(wall, time.perf_counter() - began_wall)
    return cpu * 1e3, wall * 1e3


def shown(name: str, small: str, large: str) -> bool:
    """Print a text's times at both sizes; return whether they meet the targets."""
    (cpu, wall), (cpu_large, wall_large) = milliseconds(small), milliseconds(large)
    # Below some milliseconds the ratio is that of caches.
    met = cpu_large <= MOST_MS and cpu_large <= MOST_RATIO * max(cpu, _LEAST_MS)
    print(
        f"{'✓' if met else '✗'} {cpu:6.1f} ms ({wall:6.1f})  {cpu_large:6.1f} ms ({wall_large:6.1f})  "
        f"×{cpu_large / cpu:4.2f}  {name}"
    )
    return met


def main() -> None:
    """Breed, print, and say by the exit status whether the targets are met."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--generations", type=int, default=25)
    given = arguments.parse_args()
    warm()
    bred = Breeder(given.seed).slowest(given.generations)
    print("     100 KB CPU (wall)    400 KB CPU (wall)   ratio")
    small, large = SIZES
    met = [shown(str(recipe), recipe.text(small), recipe.text(large)) for recipe in bred]
    fixed, fixed_large = worst_texts(small), worst_texts(large)
    met += [shown(name, fixed[name], fixed_large[name]) for name in fixed]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
