"""`waybill policy check|test|diff|try`: a bundle checked, its examples decided, two compared, a job tried on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.cli.output import emit
from services.cli.policies.folder import POLICIES, Folder, config_folder, load, refusing
from services.policy import explain
from services.policy.difference import diff
from services.policy.examples import Outcome, run
from services.policy.findings import Finding
from services.policy.lint import lint
from services.policy.policy import Policy
from services.policy.probes import ordinary
from services.policy.wording import counted

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on warnings as well.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The rules that decide.", no_args_is_help=True)
    group.command("check")(check)
    group.command("test")(run_examples)
    group.command("diff")(show_difference)
    group.command("try")(try_job)
    app.add_typer(group, name="policy")


def check(folder: Folder = None, strict: Strict = False, json: Json = False) -> None:
    """Check a bundle: that it can be used, and that its rules do what rules are for.

    Rules are tried on all kinds of jobs that they tell apart, and on the jobs of the examples beside the bundle.
    """
    config = config_folder(folder)
    policy = load(config)
    with refusing():
        findings = lint(policy, [outcome.job for outcome in run(config / POLICIES, policy) if outcome.world is None])
    rules = counted(len(policy.bundle.rules), "rule")
    report(
        findings, {"bundle": policy.bundle.hash, "rules": len(policy.bundle.rules)}, f"{rules} checked", strict, json
    )


def report(findings: Sequence[Finding], about: dict[str, Any], said: str, strict: bool, json: bool) -> None:
    """Print what a linter found, and fail where it is an error."""
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    summary = f"{said}: {counted(errors, 'error')}, {counted(warnings, 'warning')}."
    emit(
        {**about, "errors": errors, "warnings": warnings, "findings": [finding.as_json() for finding in findings]},
        json=json,
        text="\n".join([*map(str, findings), summary]),
    )
    if errors or (strict and warnings):
        raise typer.Exit(1)


def run_examples(folder: Folder = None, json: Json = False) -> None:
    """Decide the examples that stand beside a bundle in policies/examples, and compare with what they expect."""
    config = config_folder(folder)
    policy = load(config)
    with refusing():
        outcomes = list(run(config / POLICIES, policy))
    failed = [outcome for outcome in outcomes if outcome.problems]
    summary = f"{counted(len(outcomes), 'example')}, {len(failed)} not as expected."
    if not outcomes:
        summary = f"There are no examples in {config / POLICIES / 'examples'}: docs/policy.md says how to write them."
    emit(
        {"examples": len(outcomes), "failed": len(failed), "outcomes": [_outcome(outcome) for outcome in outcomes]},
        json=json,
        text="\n".join([*(_failure(outcome) for outcome in failed), summary]),
    )
    if failed:
        raise typer.Exit(1)


def _failure(outcome: Outcome) -> str:
    return "\n".join(
        [f"{outcome.place}: example {outcome.example.name!r}", *(f"    {problem}" for problem in outcome.problems)]
    )


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.example.name,
        "file": outcome.place.file,
        "line": outcome.place.line,
        "problems": list(outcome.problems),
        "decision": outcome.decision.model_dump(mode="json"),
    }


def show_difference(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A folder of configuration.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Another one.")],
    json: Json = False,
) -> None:
    """Show what tells the bundles of two folders apart, rule by rule, and whether it permits less or more."""
    old, new = (load(config_folder(folder)).bundle for folder in (before, after))
    differences = diff(old, new)
    emit(
        {"before": old.hash, "after": new.hash, "differences": [difference.as_json() for difference in differences]},
        json=json,
        text="\n".join(map(str, differences)) or "The bundles say the same.",
    )


def try_job(
    features: Annotated[
        list[str] | None, typer.Argument(metavar="FEATURE=VALUE...", help="What is out of the ordinary; JSON or text.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--config", metavar="DIR", help="The folder of configuration.")] = None,
    json: Json = False,
) -> None:
    """Decide about a job that is ordinary but for some features, and explain it.

    For example: waybill policy try data_class=confidential 'tools=["web_search"]'
    """
    policy: Policy = load(config_folder(folder))
    try:
        job = ordinary(**dict(_feature(text) for text in features or []))
    except ValueError as error:
        raise typer.BadParameter(str(error).splitlines()[0], param_hint="FEATURE") from error
    decision = policy.decide(job)
    emit({"decision": decision.model_dump(mode="json")}, json=json, text=explain(decision, job).rstrip())


def _feature(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not FEATURE=VALUE")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value
