"""What a decision keeps from providers, and what their answers may not show.

::

    job ──▶ guard ──▶ job as sent: placeholders for values ──▶ provider
    answer ◀── values put back ◀── looked at: leaks? ◀── answer with placeholders

**States.** None: the guard of a job follows from the job and its orders, so that a retry, or another executor, sends
the same text. What placeholders stand for is nowhere but in memory, and in the job.

**How it fails.** Closed. A job that cannot be redacted completely has no guard, and is not sent. An answer that cannot
be looked at has not passed. Jobs whose orders ask for neither redaction nor strict checks cost nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

from schemas.decision import Orders
from schemas.entries import Check
from services.detect import (
    Finding,
    Leaf,
    Occurrences,
    OwnRules,
    OwnRulesError,
    UnknownTypeError,
    UnreadableTextError,
    find,
    leaves_of,
    redact_job,
    restore,
    restore_in_json,
    types_of,
    with_whole_placeholders,
    within_json,
)
from services.executor.adapter import Answer

REDACTED: Final = "redacted-1"
"""Part of a layout's name: values have placeholders, ``[TYPE_1]``."""
_NEVER_MADE_UP: Final = ("credential", "health", "personal")
"""Under strict checks no answer shows such data that no text of the job has."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands between one job and its providers; ``sent`` is the job that adapters make requests of."""

    job: Mapping[str, Any]
    sent: Mapping[str, Any]
    placeholders: Mapping[str, str] = field(default_factory=dict)
    redacted: frozenset[str] | None = None
    """The types that placeholders were asked for; None where none were."""
    own: OwnRules | None = None
    """The tenant's rules that found some of them."""
    strict: bool = False

    def layout(self, plain: str) -> str:
        """Return the name of a request's layout."""
        return plain if self.redacted is None else f"{plain}+{REDACTED}"

    @property
    def safety_actions(self) -> list[str]:
        """What was done to keep data from the provider."""
        return ["redacted"] if self.placeholders else []

    async def examine(self, answer: Answer) -> tuple[Answer, list[Check]]:
        """Return an answer with the values put back, and the checks of what it shows beside them."""
        if self.redacted is None and not self.strict:
            return answer, []
        return await asyncio.to_thread(self._examined, answer)

    def _examined(self, answer: Answer) -> tuple[Answer, list[Check]]:
        result: Literal["pass", "fail", "error"]
        try:
            result = "fail" if self._leaks(answer) else "pass"
            restored = self._restored(answer)
        except Exception:  # whatever it is: an answer that was not looked at has not passed
            restored, result = answer, "error"
        return restored, [Check(name="leak", result=result)]

    # -- leaks ----------------------------------------------------------------------------------------------------

    def _leaks(self, answer: Answer) -> bool:
        """Whether an answer, as the provider gave it, shows what it should not; raises where it cannot be looked at."""
        text = "".join(f"{leaf.before or ' '}{leaf.text}" for leaf in _leaves(answer.output))
        found, truncated = find(text, self.own)
        if truncated:
            raise UnreadableTextError
        values = dict.fromkeys(self.placeholders.values(), "")
        if self._beside_placeholders(text, Occurrences(values).find(text)):
            return True
        if self._beside_placeholders(text, (one for one in found if one.type in (self.redacted or ()))):
            return True
        return self.strict and self._shows_what_no_text_has(text, found)

    def _beside_placeholders(self, text: str, found: Iterable[Finding]) -> list[Finding]:
        """Return findings that are not our own placeholders."""
        return with_whole_placeholders(text, sorted(found, key=lambda one: one.start), self.placeholders)

    def _shows_what_no_text_has(self, text: str, found: Iterable[Finding]) -> bool:
        never = types_of(_NEVER_MADE_UP)
        shown = self._beside_placeholders(text, (one for one in found if one.type in never))
        if not shown:
            return False
        given = _bare(" ".join(leaf.text for leaf in leaves_of(self.job)))
        return any(_bare(text[one.start : one.end]) not in given for one in shown)

    # -- putting back ---------------------------------------------------------------------------------------------

    def _restored(self, answer: Answer) -> Answer:
        if not self.placeholders:
            return answer
        asks_for_json = (self.job.get("response_format") or {}).get("type", "text") != "text"

        def put_back(text: str) -> str:
            as_json = asks_for_json or _is_json(text)
            return (restore_in_json if as_json else restore)(text, self.placeholders)

        output = _through(answer.output, put_back, lambda text: restore_in_json(text, self.placeholders))
        return replace(answer, output=output, text=put_back(answer.text))


async def guard_of(job: Mapping[str, Any], orders: Orders, own_rules: Callable[[], OwnRules | None]) -> Guard | None:
    """Return what a job's orders keep from providers; None where they ask for more than can be done: do not send it.

    `own_rules` gives the rules of the job's tenant, or raises :class:`OwnRulesError`.
    """
    strict = orders.policy.safety_mode == "strict"
    if not orders.policy.redact:
        return Guard(job, job, strict=strict)
    try:
        own = own_rules()
        types = types_of(orders.policy.redact, own)
    except (OwnRulesError, UnknownTypeError):
        return None
    made = await asyncio.to_thread(redact_job, job, types, own)
    if not made.whole:
        return None
    return Guard(job, {**job, **made.job}, made.placeholders, types, own, strict)


def _leaves(output: Mapping[str, Any]) -> list[Leaf]:
    """Return every text of an answer, those within JSON one by one."""
    leaves: list[Leaf] = []

    def see(leaf: Leaf) -> str:
        leaves.append(leaf)
        return leaf.text

    def look(text: str) -> str:
        try:
            return within_json(text, see)
        except UnreadableTextError:  # prose about escapes, as of program code
            return see(Leaf(text))

    _through(output, look, look)
    return leaves


def _through(output: Mapping[str, Any], text: Callable[[str], str], arguments: Callable[[str], str]) -> dict[str, Any]:
    """Return an answer in OpenAI's shape with its texts, and the arguments of its tool calls, as these return them."""
    choices = output.get("choices")
    if not isinstance(choices, list):
        return dict(output)
    return {**output, "choices": [_choice(choice, text, arguments) for choice in choices]}


def _choice(choice: Any, text: Callable[[str], str], arguments: Callable[[str], str]) -> Any:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return choice
    shown = {name: text(value) if isinstance(value, str) else value for name, value in message.items()}
    if isinstance(calls := message.get("tool_calls"), list):
        shown["tool_calls"] = [_call(call, arguments) for call in calls]
    return {**choice, "message": shown}


def _call(call: Any, arguments: Callable[[str], str]) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": arguments(function["arguments"])}}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _bare(text: str) -> str:
    """Return letters and digits only: an answer may write a number or a name with other marks between."""
    return "".join(character for character in text.casefold() if character.isalnum())
