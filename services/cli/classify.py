"""`waybill classify`: what the rules say about texts, without Kafka or Postgres."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from schemas.job import Job
from services.classifier.classify import classify as classify_job
from services.cli.output import emit
from services.detect import RULE_SET_VERSION, OwnRules, analyse, data_class, suspicion
from services.detect.classes import class_reasons
from services.runtime.errors import WaybillError


class InputNotClassifiableError(WaybillError):
    """The file holds something that is neither a text nor a job."""

    hint = 'Give a text file, or JSON lines of {"id": …, "text": …} or of jobs.'


class RulesUnusableError(WaybillError):
    """The rules do not load."""

    hint = "The form is that of services/detect/rules/patterns_personal.yaml."


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("classify")(classify)


def classify(
    file: Annotated[
        Path, typer.Argument(help="A text, or JSON lines (.jsonl) of texts or jobs.", exists=True, dir_okay=False)
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every finding and why the class is what it is.")
    ] = False,
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", help="Rules of your own to try, a YAML file of patterns.", exists=True, dir_okay=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Say what is in each text of a file: findings, data class, domains, injection, language, task, tokens."""
    own = _own(rules or [])
    for content in _classified(file, own):
        emit(content, json=json, text=_shown(content, explain=explain))


def _own(paths: list[Path]) -> OwnRules | None:
    try:
        return OwnRules.load(paths) if paths else None
    except ValueError as error:
        raise RulesUnusableError(f"The rules do not load: {error}") from error


def _classified(file: Path, own: OwnRules | None) -> Iterator[dict[str, Any]]:
    raw = file.read_bytes()
    if file.suffix not in {".jsonl", ".ndjson"}:
        yield _text(file.name, raw.decode(errors="replace"), own)
        return
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            yield _line(number, line, own)


def _line(number: int, line: bytes, own: OwnRules | None) -> dict[str, Any]:
    try:
        document = json_module.loads(line)  # takes lone surrogates, which faster readers refuse
    except ValueError as error:
        raise InputNotClassifiableError(f"Line {number} is no JSON.") from error
    if isinstance(document, dict) and isinstance(document.get("text"), str):
        return _text(document.get("id", number), document["text"], own)
    try:
        return _job(number, Job.model_validate(document))
    except ValidationError as error:
        raise InputNotClassifiableError(f"Line {number} is neither a text nor a job.") from error


def _text(id_: Any, text: str, own: OwnRules | None) -> dict[str, Any]:
    analysis = analyse(text, own)
    types = {found.type for found in analysis.findings}
    return {
        "id": id_,
        "findings": [
            {
                "type": found.type,
                "start": found.start,
                "end": found.end,
                "confidence": found.confidence,
                "detector": found.detector,
            }
            for found in analysis.findings
        ],
        "data_class": data_class(types, None, analysis.truncated),
        "domains": list(analysis.domains),
        "injection": {
            "score": analysis.injection_score,
            "suspected": analysis.injection_suspected,
            "signals": list(analysis.injection_signals),
        },
        "language": analysis.language,
        "task": analysis.task,
        "tokens": analysis.tokens,
        "truncated": analysis.truncated,
        "rules": own.version if own else RULE_SET_VERSION,
    }


def _job(number: int, job: Job) -> dict[str, Any]:
    """Classify a job as the classifier does; spans lie in the ``text`` of each finding, injection is the worst."""
    classification = classify_job(job)
    features, texts = classification.features, job.texts()
    each = [suspicion(text) for text in texts]
    worst = max(each, key=lambda one: one.score)
    return {
        "id": job.idempotency_key or str(number),
        "findings": classification.entry["findings"],
        "data_class": str(features["data_class"]),
        "domains": features["domains"],
        "injection": {
            "score": worst.score,
            "suspected": features["injection_suspected"] or worst.suspected,
            "signals": list(worst.signals),
            "texts": [number for number, one in enumerate(each) if one.suspected],
        },
        "language": features["language"],
        "task": features["task"],
        "tokens": features["input_tokens"],
        "truncated": classification.entry["truncated"],
        "rules": RULE_SET_VERSION,
    }


def _shown(content: dict[str, Any], *, explain: bool) -> str:
    """Return a paragraph for people: where things are and what found them, never what they say."""
    injection = content["injection"]
    lines = [
        f"{content['id']}: {content['data_class']} data, task {content['task']}, language {content['language']}, "
        f"{content['tokens']} tokens, domains {', '.join(content['domains']) or 'none'}, "
        f"{'injection suspected' if injection['suspected'] else 'no injection'}, {len(content['findings'])} findings"
    ]
    if explain:
        for found in content["findings"]:
            text = f"text {found['text']} " if "text" in found else ""
            where = f"{text}{found['start']}–{found['end']}"
            lines.append(f"  {where}  {found['type']}  {found['confidence']:.2f}  by {found['detector']}")
        types = {found["type"] for found in content["findings"]}
        lines += [f"  {reason}" for reason in class_reasons(types, truncated=content["truncated"])]
        lines.append(f"  injection {injection['score']:.3f}: {', '.join(injection['signals']) or 'no signs'}")
        lines.append(f"  rules {content['rules']}")
    return "\n".join(lines)
