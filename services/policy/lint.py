"""The linter of bundles: rules that never or always apply, contradict each other, or leave jobs without a route.

It judges by trying: each rule is evaluated on every combination of the values that its condition can tell apart
(:mod:`services.policy.probes`), and the whole bundle decides one job of each class. Providers that cannot be called
from here count as if they could.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, Final

import cel

from schemas.codes import DataClass, LatencyClass
from schemas.decision import Decision, NoRoute
from schemas.features import Features
from services.detect import redactable
from services.policy.bundle import Bundle, Rule
from services.policy.catalog import Catalog
from services.policy.condition import ConditionError, normal
from services.policy.findings import Finding, Level
from services.policy.places import Place
from services.policy.policy import Policy
from services.policy.probes import ORDINARY_JOB, ordinary, situations
from services.policy.restrictions import Restrictions, matches, meet
from services.policy.wording import counted, joined

_PAIR_TRIED: Final = 500
_MAX_TOLD: Final = 3


def lint(policy: Policy, occurring: Iterable[Features] = ()) -> list[Finding]:
    """Return what is wrong with a policy's bundle, in the order of its files.

    `occurring` are jobs that do occur, such as recorded ones or those of examples, beside one of each class.
    """
    reachable = Policy(policy.bundle, policy.catalog.reachable(), policy.aliases)
    tried = {rule.id: _try(rule) for rule in policy.bundle.rules}
    findings = [finding for rule in policy.bundle.rules for finding in _alone(rule, tried[rule.id], reachable.catalog)]
    findings += _pairs(reachable)
    findings += _routes(policy.bundle, policy.catalog)
    findings += _classes(reachable, occurring)
    return sorted(findings, key=_order)


def _order(finding: Finding) -> tuple[str, int, int, str, str]:
    place = finding.place or Place("", 0, 0)
    return place.file, place.line, place.column, finding.subject, finding.code


@dataclass
class _Tried:
    """How a rule's condition came out."""

    true: int = 0
    false: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)


def _try(rule: Rule) -> _Tried:
    found = _Tried()
    for values in situations([rule]):
        match _holds(rule, values):
            case True:
                found.true += 1
            case False:
                found.false += 1
            case None:
                found.failed.append(values)
    return found


def _holds(rule: Rule, values: dict[str, Any]) -> bool | None:
    """Return how a condition comes out; ``None`` where it cannot be evaluated, so that the rule applies."""
    context = cel.Context()
    context.update({name: values[name] for name in rule.condition.reads})
    try:
        return rule.condition.holds(context)
    except ConditionError:
        return None


def _finding(level: Level, code: str, rule: Rule, text: str, hint: str) -> Finding:
    return Finding(level, code, f"rule {rule.id}", text, hint, rule.place)


def _alone(rule: Rule, tried: _Tried, catalog: Catalog) -> Iterable[Finding]:
    """Yield what is wrong with a rule by itself."""
    how_many = counted(tried.true + tried.false, "kind") + " of jobs"
    if not tried.true and not tried.failed and "matches" not in rule.spec.when:
        yield _finding(
            "error",
            "never-applies",
            rule,
            f"no job makes its condition true ({how_many} were tried), so it restricts nothing.",
            "Correct the condition: look for values outside of a feature's vocabulary, and for parts that exclude "
            "each other.",
        )
    if not tried.false and not tried.failed and normal(rule.spec.when) != "true":
        yield _finding(
            "warning",
            "always-applies",
            rule,
            f"its condition is true for every job ({how_many} were tried).",
            'If that is meant, write `when: "true"`; else correct the condition.',
        )
    if tried.failed:
        yield _finding(
            "warning",
            "may-fail",
            rule,
            f"its condition cannot be evaluated for some jobs ({_why_failed(rule, tried.failed[0])}); "
            "the rule applies to them.",
            'Say what is meant for them: `user_tier != null && …`, or `"email" in findings && …`.',
        )
    if rule.restrictions == Restrictions():
        yield _finding("warning", "no-effect", rule, "it takes nothing away.", "Give it effects, or take the rule out.")
    if unknown := sorted(rule.restrictions.redacted - redactable()):
        yield _finding(
            "error",
            "unknown-finding",
            rule,
            f"it has {joined(unknown)} redacted, which nothing finds; jobs to which it applies are not sent at all.",
            "Name a type of findings or a group of them; `waybill classify FILE` says what is found.",
        )
    if not _leaves_a_route(rule.restrictions, catalog):
        yield _finding(
            "error",
            "no-route",
            rule,
            "no model in the catalog satisfies it, so that every job to which it applies is rejected.",
            "Loosen its effects, or add a provider or model that satisfies them to catalog.yaml.",
        )


def _why_failed(rule: Rule, values: dict[str, Any]) -> str:
    missing = [name for name in sorted(rule.condition.reads) if values[name] is None]
    if missing:
        return f"where {joined(missing)} is not given"
    if "findings" in rule.condition.reads:
        return "where nothing of that type was found"
    return "such as where " + joined(f"{name} is {value!r}" for name, value in sorted(values.items()))


def _leaves_a_route(restrictions: Restrictions, catalog: Catalog) -> bool:
    # Whether some model satisfies a rule: with no tools asked for, and for the task that the model is best at.
    for offer in catalog.offers:
        tasks = max(offer.model.quality, key=lambda task: offer.model.quality[task])
        if restrictions.excludes(offer, {**ORDINARY_JOB, "task": tasks}) is None:
            return True
    return False


def _pairs(policy: Policy) -> Iterable[Finding]:
    """Yield the pairs of rules that contradict each other, and the rules that another one makes superfluous."""
    for a, b in combinations(policy.bundle.rules, 2):
        both = meet([a.restrictions, b.restrictions])
        alone = all(_leaves_a_route(rule.restrictions, policy.catalog) for rule in (a, b))
        if alone and not _leaves_a_route(both, policy.catalog) and _meet_somewhere(a, b):
            yield _finding(
                "error",
                "contradiction",
                a,
                f"together with rule {b.id}{f' ({b.place})' if b.place else ''} it leaves no route: what one of them "
                "allows the other one forbids, and there are jobs to which both apply.",
                "Make their conditions exclude each other, or their effects agree.",
            )
    for a, b in product(policy.bundle.rules, repeat=2):
        if a is b or a.restrictions == Restrictions() or meet([a.restrictions, b.restrictions]) != b.restrictions:
            continue
        # Of two rules that say the same the later one is superfluous, not both.
        if (a.restrictions != b.restrictions or a.id > b.id) and _implies(a, b):
            yield _finding(
                "warning",
                "superfluous",
                a,
                f"wherever it applies, rule {b.id} applies as well and takes away at least as much.",
                f"Take it out, or keep it if its reason is wanted beside that of {b.id}.",
            )


def _meet_somewhere(a: Rule, b: Rule) -> bool:
    return any(
        _holds(a, values) is True and _holds(b, values) is True for values in situations([a, b], most=_PAIR_TRIED)
    )


def _implies(a: Rule, b: Rule) -> bool:
    seen = False
    for values in situations([a, b], most=_PAIR_TRIED):
        if _holds(a, values) is not False:
            seen = True
            if _holds(b, values) is False:
                return False
    return seen


def _routes(bundle: Bundle, catalog: Catalog) -> Iterable[Finding]:
    for limits in bundle.routes:
        if not any(matches(offer.route.name, [limits.route]) for offer in catalog.offers):
            yield Finding(
                "warning",
                "unknown-route",
                f"routes {limits.route}",
                "no route of the catalog has such a name, so that it limits nothing.",
                "Write it as provider/model@region, with * for what may be anything.",
            )


def _classes(policy: Policy, occurring: Iterable[Features]) -> Iterable[Finding]:
    """Yield the classes of jobs that are left without a route, by the rule without which they would have one."""
    by_culprit: dict[str, list[str]] = {}
    for words, job in [*_one_of_each(policy), *((_as_words(job), job) for job in occurring)]:
        decision = policy.decide(job)
        if isinstance(decision, NoRoute):
            for culprit in _culprits(policy, job):
                told = by_culprit.setdefault(culprit, [])
                if words not in told:
                    told.append(words)
    rules = {rule.id: rule for rule in policy.bundle.rules}
    for culprit, kinds in sorted(by_culprit.items()):
        more = f" and {counted(len(kinds) - _MAX_TOLD, 'more kind')} of jobs" if len(kinds) > _MAX_TOLD else ""
        text = f"it leaves no route for {'; '.join(kinds[:_MAX_TOLD])}{more}."
        hint = "Loosen the rule, or put a model that satisfies it behind the default alias."
        if (rule := rules.get(culprit)) is not None:
            yield _finding("error", "class-without-route", rule, text, hint)
        else:
            hint = "Put a model that can do it behind the alias, or loosen the rules that apply together."
            yield Finding("error", "class-without-route", culprit, text, hint)


def _culprits(policy: Policy, job: Features) -> list[str]:
    """Return the rules without each of which the job would have a route; without such a rule, ``bundle``."""
    applied = [fired.rule.id for fired in policy.fired(job)]
    alone = [
        rule for rule in applied if isinstance(policy.with_bundle(policy.bundle.without(rule)).decide(job), Decision)
    ]
    return alone or ["bundle"]


def _one_of_each(policy: Policy) -> Iterable[tuple[str, Features]]:
    """Yield one job of each class that can occur: what the default alias can do, in each data class and situation."""
    alias = policy.aliases.aliases[policy.aliases.default]
    behind = [offer for offer in policy.catalog.offers if alias.matches(offer.route)]
    operations = sorted(
        {str(kind) for offer in behind for kind in offer.model.capabilities} & {"chat", "embed", "rerank"}
    )
    with_tools = any("tools" in offer.model.capabilities for offer in behind)
    for operation, latency_class, data_class in product(operations, LatencyClass, DataClass):
        for words, changes in _SITUATIONS.items():
            if "tools" in changes and not (with_tools and operation == "chat"):
                continue
            job = ordinary(operation=operation, latency_class=latency_class, data_class=data_class, **changes)
            yield f"{data_class} {operation} jobs in {latency_class}{words}", job


_SITUATIONS: Final[dict[str, dict[str, Any]]] = {
    "": {},
    " with tools": {"tools": ["kb_search"]},
    " with untrusted documents": {"documents": 1, "untrusted_documents": 1},
    " that ask for high quality": {"quality": "high"},
}


def _as_words(job: Features) -> str:
    return f"{job.data_class} {job.operation} jobs in {job.latency_class} like one that occurs"
