"""Decisions per second on one core: remembered plans, and cold ones with 100 rules and 50 routes.

Remembered are plans, by the features that rules and filters read. Cold is a job whose combination of features was never
seen; with the rules remembered, each feature was, and the combination was not.

Run with ``python benchmarks/policy.py``; it prints one JSON line per case.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import random
import time
from decimal import Decimal
from pathlib import Path

from schemas.codes import DataClass, LatencyClass
from schemas.decision import Decision
from schemas.features import Features
from services.policy import (
    Alias,
    Aliases,
    Bundle,
    Catalog,
    Circumstances,
    Closed,
    Health,
    Model,
    MoneyLeft,
    Policy,
    Provider,
    Rule,
    Target,
)
from services.policy.bundle import ReasonSpec, RuleSpec
from services.policy.circumstances import ORDINARY
from services.policy.effects import AllCapsSpec, CapsSpec, Effects
from services.policy.plan import Planner
from services.policy.prices import PriceSpec

CONFIG = Path(__file__).resolve().parent.parent / "config"
RULES, PROVIDERS, MODELS = 100, 10, 5
TASKS = ["qa", "extract", "summarise", "classify", "generate", "code", "translate", "rewrite"]
CONDITIONS = [
    'data_class in ["confidential", "regulated"] && tenant == "tenant-{n}"',
    'domains.exists(domain, domain == "domain-{n}")',
    "injection_suspected || untrusted_documents > {n}",
    'tools.exists(tool, tool.startsWith("tool-{n}"))',
    'task == "{task}" && quality == "high"',
]


def large_policy() -> Policy:
    """Return a policy of 100 rules over a catalog of 50 routes, all of them behind one alias."""
    providers = [
        Provider(
            name=f"provider-{n}",
            adapter="openai-compatible",
            base_url="http://127.0.0.1",
            regions=["eu"],
            retention_days=n % 2 * 30,
        )
        for n in range(PROVIDERS)
    ]
    models = [
        Model(
            provider=provider.name,
            name=f"model-{n}",
            version="1",
            capabilities=frozenset({"chat", "tools", "structured"}),
            context_window=128_000,
            max_output_tokens=8_192,
            quality={"default": 0.5 + n / 10},
            latency_ms=100 * n,
            price=PriceSpec(as_of=dt.date(2026, 1, 1), input=Decimal(n + 1) / 10, output=Decimal(n + 1)),
        )
        for provider in providers
        for n in range(MODELS)
    ]
    catalog = Catalog(providers, models, {"default": 400})
    targets = [Target(provider=model.provider, model=model.name) for model in models]
    aliases = Aliases(version=1, default="all", aliases={"all": Alias(targets=targets)})
    rules = [
        Rule.compile(
            RuleSpec(
                id=f"rule-{n}",
                description=f"Rule {n} of the benchmark.",
                when=CONDITIONS[n % len(CONDITIONS)].replace("{n}", str(n)).replace("{task}", TASKS[n % len(TASKS)]),
                reason=ReasonSpec(code="benchmark", text="{findings} in {documents} documents"),
                effects=Effects(
                    retention="zero",
                    deny_providers=(f"provider-{n % PROVIDERS}",) if n % 3 == 0 else (),
                    caps=CapsSpec(max_output_tokens=4_000 - n),
                    safety_mode="strict",
                ),
            )
        )
        for n in range(RULES)
    ]
    caps = AllCapsSpec(
        max_input_tokens=200_000,
        max_output_tokens=4_096,
        max_tool_calls=20,
        max_attempts=6,
        deadline_ms=172_800_000,
        max_cost_usd=Decimal(1),
    )
    return Policy(Bundle(rules, dict.fromkeys(LatencyClass, caps)), catalog, aliases)


def jobs(count: int, seed: int = 7) -> list[Features]:
    """Return features of jobs of all sizes, with some two hundred combinations of attributes."""
    chance = random.Random(seed)
    return [
        Features(
            tenant=f"tenant-{chance.randrange(3)}",
            latency_class=chance.choice(list(LatencyClass)),
            operation="chat",
            task=chance.choice(TASKS),
            task_confidence=0.9,
            language="en",
            input_tokens=chance.randrange(20, 20_000),
            characters=chance.randrange(80, 80_000),
            messages=2,
            documents=0,
            untrusted_documents=0,
            tools=[],
            structured_output=False,
            quality="standard",
            data_class=chance.choice([DataClass.INTERNAL, DataClass.CONFIDENTIAL]),
            domains=[],
            risk_tier="low",
            injection_suspected=False,
            findings={"email": chance.randrange(50), "phone": chance.randrange(50)},
        )
        for _ in range(count)
    ]


def measure(name: str, policy: Policy, features: list[Features], now: Circumstances = ORDINARY) -> None:
    """Print decisions per second of processor time and microseconds for each, after one pass over all jobs."""
    for job in features:
        policy.decide(job, None, now)
    started = time.process_time()
    routed = sum(isinstance(policy.decide(job, None, now), Decision) for job in features)
    seconds = time.process_time() - started
    told = {"decisions_per_second": round(len(features) / seconds), "us": round(seconds / len(features) * 1e6, 1)}
    print(json.dumps({"case": name, **told, "routed": routed, "of": len(features)}))


def main() -> None:
    """Measure all cases."""
    print(json.dumps({"python": platform.python_version(), "machine": platform.machine()}))
    shipped = Policy.load(CONFIG, {"WAYBILL_SIMULATOR_URL": "http://127.0.0.1"})
    large = large_policy()
    measure("remembered, shipped policy", shipped, jobs(20_000))
    measure(f"remembered, {RULES} rules x {PROVIDERS * MODELS} routes", large, jobs(20_000))
    # What `decide` uses, with nothing remembered, and with no plan remembered but which rules apply.
    cold, seen = large_policy(), large_policy()
    cold.__dict__["_planner"] = Planner(cold.bundle, cold.catalog, cold.aliases, remembered=0)
    seen.__dict__["_planner"] = Planner(seen.bundle, seen.catalog, seen.aliases, remembered=0, rules_remembered=512)
    measure(f"cold, {RULES} rules x {PROVIDERS * MODELS} routes", cold, jobs(4_000))
    measure("cold, the rules remembered", seen, jobs(4_000))
    now = Circumstances(health=Health.of([Closed("provider-3", "outage")]), money=MoneyLeft(Decimal(50), "today"))
    measure("remembered, a provider out and money counted", large, jobs(20_000), now)


if __name__ == "__main__":
    main()
