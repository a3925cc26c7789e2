"""Writes ``docs/decisions/*.md``: the decisions that the examples beside that bundle come to, and what explains them.

Run with ``python -m services.cli.policies.docs_decisions``; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from services.policy import Policy, explain
from services.policy.examples import Outcome, run

FOLDER: Final = Path(__file__).resolve().parents[3] / "docs" / "decisions"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    policy = Policy.load(FOLDER, {})
    return {f"{_slug(outcome)}.md": _page(outcome) for outcome in run(FOLDER / "policies", policy)}


def _slug(outcome: Outcome) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in outcome.example.name).split())


def _page(outcome: Outcome) -> str:
    job = json.dumps(outcome.example.job, indent=2)
    decision = json.dumps(outcome.decision.model_dump(mode="json"), indent=2)
    return (
        f"# {outcome.example.name[0].upper()}{outcome.example.name[1:]}\n\n"
        "Decided from the [catalog](catalog.yaml), the [aliases](aliases.yaml) and the "
        "[bundle](policies/enterprise.yaml) of this folder; the job is ordinary but for\n\n"
        f"```json\n{job}\n```\n\n## In words\n\n{explain(outcome.decision, outcome.job).strip()}\n\n"
        f"## As it stands in the record\n\n```json\n{decision}\n```\n"
    )


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
