"""docs/policy.md names every feature, effect and finding that there is."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.codes import EscalationCause
from schemas.features import Features
from services.policy import lint
from services.policy.effects import CapsSpec, Effects
from services.policy.examples import Expected

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "policy.md").read_text()
EXAMPLES = "".join(re.findall(r"```yaml.*?```", PAGE, flags=re.DOTALL))
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
NAMED = set(re.findall(r"[a-z_]+(?:-[a-z]+)*", " ".join(re.findall(r"`([^`]+)`", PROSE))))


def test_every_feature_effect_and_cause_is_named() -> None:
    fields = {*Features.model_fields, *Effects.model_fields, *CapsSpec.model_fields, *EscalationCause}
    assert fields - NAMED == set()


def test_every_finding_is_named() -> None:
    source = Path(lint.__file__ or "").read_text()
    codes = set(re.findall(r'"(?:error|warning)",\s*"([a-z-]+)"', source))
    assert len(codes) > 7
    assert codes - NAMED == set()


def test_what_an_example_may_expect_is_named() -> None:
    keys = set(re.findall(r"([a-z_]+):", EXAMPLES))
    assert set(Expected.model_fields) - keys - NAMED == set()
