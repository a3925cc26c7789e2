"""What is in a text: a pure library of detectors.

::

    text ──▶ patterns ──▶ findings (type, span, confidence; never the value)
         ├─▶ language, task family, high-stakes domains, injection suspicion
         └─▶ tokens
    finding types + declared class ──▶ data class
    all that is in a job ──▶ data class, risk tier, action class, each with the rules that made it so
    name of a tool ──▶ its scope
    text + findings ──▶ redacted text and what its placeholders stand for

**States.** None between calls. Compiled pattern databases and tokenizer tables are loaded once per process and are
read-only afterwards; :func:`warm` loads them ahead of the first text. Each thread has its own scratch memory, so every
function may be called from any thread.

**Authority.** Advice only: nothing here decides a route. What a text *is* follows from the rule files in
``services/detect/rules`` alone, and :data:`RULE_SET_VERSION` names their content.

**How it fails.** Closed. A detector that raises, a text longer than what is looked at, or more findings than are kept
makes the analysis ``truncated``, which raises the data class to its top. Work is linear in the text and bounded.
"""

from __future__ import annotations

from services.detect.analysis import analyse, find, warm
from services.detect.classes import data_class
from services.detect.findings import Analysis, Finding
from services.detect.injection import Suspicion, suspicion
from services.detect.jobs import RedactedJob, UnreadableTextError, leaves_of, redact_job, within_json
from services.detect.labels import Labelled, Situation, explained, labelled
from services.detect.own_rules import OwnRules, OwnRulesError
from services.detect.redaction import (
    Redaction,
    redact,
    redacted,
    restore,
    restore_in_json,
    with_whole_placeholders,
)
from services.detect.redactor import (
    Leaf,
    Occurrences,
    RedactedTexts,
    UnknownTypeError,
    redact_texts,
    redactable,
    types_of,
)
from services.detect.rules import RULE_SET_VERSION
from services.detect.tokens import count_tokens, tokens_at_most
from services.detect.tools import tool_scope

__all__ = [
    "RULE_SET_VERSION",
    "Analysis",
    "Finding",
    "Labelled",
    "Leaf",
    "Occurrences",
    "OwnRules",
    "OwnRulesError",
    "RedactedJob",
    "RedactedTexts",
    "Redaction",
    "Situation",
    "Suspicion",
    "UnknownTypeError",
    "UnreadableTextError",
    "analyse",
    "count_tokens",
    "data_class",
    "explained",
    "find",
    "labelled",
    "leaves_of",
    "redact",
    "redact_job",
    "redact_texts",
    "redactable",
    "redacted",
    "restore",
    "restore_in_json",
    "suspicion",
    "tokens_at_most",
    "tool_scope",
    "types_of",
    "warm",
    "with_whole_placeholders",
    "within_json",
]
