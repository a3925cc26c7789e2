"""A record as people read it: one line per entry, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.table import Table

from schemas.codes import EntryKind
from services.runtime.ledger import Entry


def record_table(chain: Sequence[Entry]) -> Table:
    """Return a table of a chain's entries: position, time since received, kind, and what each says."""
    table = Table(show_edge=False, pad_edge=False, header_style="dim")
    table.add_column("seq", justify="right")
    table.add_column("after", justify="right")
    table.add_column("entry", no_wrap=True)
    table.add_column("says")
    table.add_column("hash", style="dim", no_wrap=True)
    start = _at(chain[0])
    for entry in chain:
        table.add_row(
            str(entry.seq),
            f"{(_at(entry) - start).total_seconds() * 1000:,.0f} ms",
            entry.kind,
            sentence(entry),
            entry.hash.hex()[:8],
        )
    return table


def sentence(entry: Entry) -> str:
    """Return what an entry says, in words."""
    return _SENTENCES[EntryKind(entry.kind)](entry.content()["data"])


def _at(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.content()["recorded_at"])


def _received(data: Mapping[str, Any]) -> str:
    source = data["source"]
    text = (
        f"{data['latency_class'] or 'a'} {data['operation'] or ''} job of tenant {data['tenant']}, "
        f"{data['bytes']:,} bytes, from {source['topic']}[{source['partition']}]@{source['offset']}"
    )
    if data["replay_of"]:
        text += f"; replays {data['replay_of']}"
    if data.get("error"):
        text += f"; not acceptable: {_fault(data['error'])}"
    return text


def _fault(error: Mapping[str, Any]) -> str:
    field = f" ({error['field']})" if error["field"] else ""
    return f"{error['code']}{field}"


def _classified(data: Mapping[str, Any]) -> str:
    features = data["features"]
    found = ", ".join(f"{count} × {name}" for name, count in features["findings"].items()) or "nothing sensitive"
    return (
        f"{features['data_class']} data, {features['risk_tier']} risk, task {features['task']}, language "
        f"{features['language']}, {features['input_tokens']:,} tokens; found {found}"
    )


def _decided(data: Mapping[str, Any]) -> str:
    decision = data["decision"]
    if decision["route"] is None:
        return f"no route: {decision['reasons'][0]['text']}"
    fallbacks = ", ".join(_route(fallback["route"]) for fallback in decision["fallbacks"]) or "none"
    return f"{_route(decision['route'])}; fallbacks {fallbacks}; at most ${decision['budgets']['max_cost_usd']}"


def _route(route: Mapping[str, Any]) -> str:
    return f"{route['provider']}/{route['model']}@{route['region']}"


def _attempt_started(data: Mapping[str, Any]) -> str:
    marks = " (fallback)" * data["fallback"] + " (an earlier call may have been charged)" * data["may_double_pay"]
    return f"attempt {data['attempt']} on {_route(data['route'])}{marks}"


def _attempt_finished(data: Mapping[str, Any]) -> str:
    outcome = data["outcome"] if data["outcome"] == "ok" else f"{data['outcome']}: {data['failure_class']}"
    usage = data["usage"]
    tokens = f", {usage['input_tokens']:,} + {usage['output_tokens']:,} tokens" if usage else ""
    cost = f", ${data['cost_usd']}" if data["cost_usd"] else ""
    return f"attempt {data['attempt']} {outcome} after {data['latency_ms']:,} ms{tokens}{cost}"


def _validated(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{check['name']} {check['result']}" for check in data["checks"])


def _held(data: Mapping[str, Any]) -> str:
    return f"waits: {data['reason']}" + (f" until {data['due']}" if data["due"] else "")


def _released(data: Mapping[str, Any]) -> str:
    return f"{data['verdict']}" + (f" by {data['actor']}" if data["actor"] else "")


def _sealed(data: Mapping[str, Any]) -> str:
    totals = data["totals"]
    error = f" ({_fault(data['error'])})" if data["error"] else ""
    return f"{data['status']}{error}; {totals['attempts']} attempts, ${totals['cost_usd']}"


def _late_result(data: Mapping[str, Any]) -> str:
    cost = f", ${data['cost_usd']}" if data["cost_usd"] else ""
    return f"the answer of attempt {data['attempt']} came late: {data['outcome']}{cost}"


def _cost_corrected(data: Mapping[str, Any]) -> str:
    change = f"${data['cost_usd']} after {data['reference']}"
    return f"the cost of attempt {data['attempt']} was corrected by {change}, says {data['actor']}"


def _erased(data: Mapping[str, Any]) -> str:
    why = {"record": "as asked", "subject": "with its subject", "replay": "with a record of the same content"}
    return f"content erased {why.get(data['cause'], 'after its time')}, asked for by {data['actor']}"


def _feedback(data: Mapping[str, Any]) -> str:
    ratio = "" if data["edit_ratio"] is None else f", {data['edit_ratio']:.0%} of it changed"
    reason = f" ({data['reason_code']})" if data["reason_code"] else ""
    return f"somebody's verdict on the answer: {data['verdict'].replace('_', ' ')}{ratio}{reason}"


_SENTENCES: Final[dict[EntryKind, Callable[[Mapping[str, Any]], str]]] = {
    EntryKind.RECEIVED: _received,
    EntryKind.CLASSIFIED: _classified,
    EntryKind.DECIDED: _decided,
    EntryKind.ATTEMPT_STARTED: _attempt_started,
    EntryKind.ATTEMPT_FINISHED: _attempt_finished,
    EntryKind.VALIDATED: _validated,
    EntryKind.HELD: _held,
    EntryKind.RELEASED: _released,
    EntryKind.SEALED: _sealed,
    EntryKind.LATE_RESULT: _late_result,
    EntryKind.COST_CORRECTED: _cost_corrected,
    EntryKind.ERASED: _erased,
    EntryKind.FEEDBACK: _feedback,
}
