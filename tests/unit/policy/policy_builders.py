"""Small catalogs, bundles and jobs for the tests of deciding."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from schemas.codes import DataClass, LatencyClass
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
from services.policy.bundle import RuleSpec
from services.policy.effects import AllCapsSpec
from services.policy.plan import Planner
from services.policy.prices import PriceSpec
from services.policy.probes import ordinary

CONFIG = Path(__file__).resolve().parents[3] / "config"
ENVIRON = {"WAYBILL_SIMULATOR_URL": "http://127.0.0.1:4000"}

PROVIDERS = ["alpha", "beta", "gamma"]
TOOLS = ["calculator", "email_send", "kb_retrieve"]


def a_job(**changes: Any) -> Features:
    """Return features of an ordinary job, with some of them changed."""
    return ordinary(**{"tenant": "acme", **changes})


def a_provider(name: str = "alpha", **changes: Any) -> Provider:
    """Return a provider that keeps nothing, in the EU."""
    fields = {"adapter": "openai-compatible", "base_url": "http://127.0.0.1", "regions": ["eu"], "retention_days": 0}
    return Provider(**{**fields, "name": name, **changes})


def a_model(provider: str = "alpha", name: str = "small", **changes: Any) -> Model:
    """Return a model that can do everything with chats, at 1 US dollar in and 2 out per million tokens."""
    fields: dict[str, Any] = {
        "version": "1",
        "capabilities": {"chat", "tools", "structured"},
        "context_window": 100_000,
        "max_output_tokens": 8_000,
        "quality": {"default": 0.7},
        "latency_ms": 100,
        "price": a_price(1, 2),
    }
    return Model(**{**fields, "provider": provider, "name": name, **changes})


def a_price(input_usd: Any, output_usd: Any) -> PriceSpec:
    """Return an explicit price in US dollars per million tokens."""
    return PriceSpec(as_of=dt.date(2026, 1, 1), input=Decimal(input_usd), output=Decimal(output_usd))


def a_rule(rule_id: str = "rule", when: str = "true", reason: dict[str, str] | None = None, **effects: Any) -> Rule:
    """Return a compiled rule."""
    spec = {"id": rule_id, "description": f"What {rule_id} is for.", "when": when, "effects": effects}
    return Rule.compile(RuleSpec.model_validate({**spec, "reason": reason}))


def a_catalog() -> Catalog:
    """Return three providers: alpha cheap, beta with batches and 30 days' retention, gamma in two regions and dear."""
    providers = [
        a_provider("alpha"),
        a_provider("beta", retention_days=30, batch={"discount": "0.5"}, residency=["us"]),
        a_provider("gamma", regions=["eu", "us"], hosting="private"),
    ]
    models = [
        a_model("alpha", "small", tool_reliability=0.9),
        a_model("alpha", "plain", capabilities={"chat"}, price=a_price("0.5", 1)),
        a_model("beta", "small", price=a_price("1.5", 3)),
        a_model("gamma", "large", price=a_price(5, 10), quality={"default": 0.9}, context_window=400_000),
    ]
    return Catalog(providers, models, {"default": 400})


def a_bundle(*rules: Rule, **caps: Any) -> Bundle:
    """Return a bundle of rules over generous ceilings, the same for both latency classes."""
    fields = {
        "max_input_tokens": 200_000,
        "max_output_tokens": 4_000,
        "max_tool_calls": 20,
        "max_attempts": 6,
        "deadline_ms": 172_800_000,
        "max_cost_usd": "1",
        "max_continuations": 2,
        "escalation": {"on": ["low_confidence"]},
    }
    return Bundle(rules, dict.fromkeys(LatencyClass, AllCapsSpec.model_validate({**fields, **caps})))


def a_policy(
    *rules: Rule, catalog: Catalog | None = None, aliases: dict[str, Alias] | None = None, **caps: Any
) -> Policy:
    """Return a policy whose default alias has every model of the catalog behind it, beside other aliases."""
    catalog = catalog or a_catalog()
    everything = tuple(Target(provider=provider, model=model) for provider, model in catalog.models)
    named = {"everything": Alias(targets=everything), "first": Alias(targets=everything[:1]), **(aliases or {})}
    if {"alpha", "beta", "gamma"} <= catalog.providers.keys():
        named.setdefault("shared", shared_alias())
    return Policy(a_bundle(*rules, **caps), catalog, Aliases(version=1, default="everything", aliases=named))


def shared_alias(**parts: Any) -> Alias:
    """Return an alias with weights, a canary, a shadow and fallbacks of its own, some of them changed."""
    fields: dict[str, Any] = {
        "targets": [
            {"provider": "alpha", "model": "small", "weight": 3},
            {"provider": "beta", "model": "small", "weight": 1},
        ],
        "canary": {"provider": "gamma", "model": "large", "region": "eu", "share": 0.25},
        "shadows": [{"provider": "gamma", "model": "large", "share": 0.5}],
        "fallbacks": [{"provider": "alpha", "model": "plain", "when": ["rate_limit"]}],
    }
    return Alias.model_validate({**fields, **parts})


def forgetful(policy: Policy) -> Policy:
    """Return the same policy, remembering nothing between decisions."""
    cold = Policy(policy.bundle, policy.catalog, policy.aliases)
    cold.__dict__["_planner"] = Planner(policy.bundle, policy.catalog, policy.aliases, remembered=0)
    return cold


_SOME_TOOLS = st.lists(st.sampled_from([*TOOLS, "kb_*", "*_send"]), max_size=3, unique=True)

CONDITIONS = [
    "true",
    'data_class in ["confidential", "regulated"]',
    "size(tools) > 1",
    "findings.email > 2",
    "input_tokens > 5000",
    'domains.exists(domain, domain == "legal")',
    'user_tier.startsWith("gold")',
]


@st.composite
def effects(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the effects of a rule."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "allow_providers": st.lists(st.sampled_from(PROVIDERS), max_size=3, unique=True),
        "deny_providers": st.lists(st.sampled_from(PROVIDERS), max_size=2, unique=True),
        "allow_regions": st.lists(st.sampled_from(["eu", "us"]), max_size=2, unique=True),
        "retention": st.sampled_from(["zero", "any"]),
        "tools_allowed": _SOME_TOOLS,
        "requires_approval_for": _SOME_TOOLS,
        "safety_mode": st.sampled_from(["standard", "strict"]),
        "require_citations": st.booleans(),
        "human_review": st.booleans(),
        "min_quality": st.sampled_from([0.0, 0.6, 0.8]),
        "allow_models": st.lists(st.sampled_from(["alpha/*", "*/small", "gamma/large"]), max_size=2, unique=True),
        "deny_models": st.lists(st.sampled_from(["alpha/plain", "*/large"]), max_size=2, unique=True),
        "allow_residency": st.lists(st.sampled_from(["eu", "us"]), max_size=2, unique=True),
        "allow_hosting": st.lists(st.sampled_from(["shared", "private", "self-hosted"]), max_size=2, unique=True),
        "require_capabilities": st.lists(st.sampled_from(["tools", "structured"]), max_size=2, unique=True),
        "min_tool_reliability": st.sampled_from([0.0, 0.5, 0.95]),
        "max_latency_ms": st.sampled_from([50, 100, 500]),
        "requires_confirmation_for": _SOME_TOOLS,
        "unattended_tools": _SOME_TOOLS,
        "tools_sandboxed": _SOME_TOOLS,
        "redact": st.lists(st.sampled_from(["personal", "credential", "iban"]), max_size=2, unique=True),
        "prompt_layout": st.sampled_from(["standard", "isolated"]),
        "logging": st.sampled_from(["standard", "strict"]),
        "escalation": st.sampled_from(["allowed", "none"]),
        "over_budget": st.sampled_from(["any", "reject"]),
        "caps": st.fixed_dictionaries(
            {},
            optional={
                "max_input_tokens": st.integers(500, 200_000),
                "max_output_tokens": st.integers(1, 8_000),
                "max_tool_calls": st.integers(0, 20),
                "max_attempts": st.integers(1, 6),
                "max_continuations": st.integers(0, 3),
                "deadline_ms": st.integers(1, 10**9),
                "max_cost_usd": st.sampled_from(["0", "0.003", "0.01", "0.05", "2"]),
            },
        ),
    }
    # A few at a time: of rules that do everything at once, each hides what the others do.
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=4, unique=True))
    return {name: draw(optional[name]) for name in names}


@st.composite
def rule_lists(draw: st.DrawFn, max_size: int = 5) -> list[Rule]:
    """Draw rules with distinct ids."""
    count = draw(st.integers(0, max_size))
    return [a_rule(f"rule-{n}", draw(st.sampled_from(CONDITIONS)), **draw(effects())) for n in range(count)]


jobs: st.SearchStrategy[Features] = st.builds(
    a_job,
    latency_class=st.sampled_from(LatencyClass),
    operation=st.sampled_from(["chat", "chat", "embed"]),
    input_tokens=st.integers(0, 450_000),
    tools=st.lists(st.sampled_from(TOOLS), max_size=3, unique=True),
    structured_output=st.booleans(),
    user_tier=st.sampled_from([None, "gold", "free"]),
    alias=st.sampled_from([None, None, "first", "shared", "unknown"]),
    model=st.sampled_from([None, "small", "beta/small", "gamma/large@us", "missing"]),
    max_output_tokens=st.sampled_from([None, 100, 6_000]),
    max_cost_usd=st.sampled_from([None, "0.004", "5"]),
    regions=st.sampled_from([None, ["us"], ["eu", "us"]]),
    retention=st.sampled_from([None, "zero", "any"]),
    data_class=st.sampled_from(DataClass),
    domains=st.lists(st.sampled_from(["legal", "medical"]), max_size=2, unique=True),
    findings=st.dictionaries(st.sampled_from(["email", "iban"]), st.integers(1, 5), max_size=2),
)

circumstances: st.SearchStrategy[Circumstances] = st.builds(
    Circumstances,
    record=st.none() | st.uuids().map(str),
    health=st.lists(
        st.builds(
            Closed,
            st.sampled_from(["all", "alpha", "gamma", "beta/small@eu", "gamma/large@us"]),
            st.sampled_from(["gate", "outage"]),
        ),
        max_size=2,
    ).map(Health.of),
    money=st.none() | st.builds(MoneyLeft, st.sampled_from([Decimal(0), Decimal("0.01"), Decimal(9)]), st.just("May")),
)
