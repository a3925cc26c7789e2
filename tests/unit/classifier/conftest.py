"""Rules of a tenant's own."""

from __future__ import annotations

import pytest

from services.detect import OwnRules

OWN_RULES = r"""
types: {customer_number: personal}
classes: {customer_number: confidential}
patterns: [{id: acme_customer, type: customer_number, regex: '\bACME-\d{6}\b', confidence: 0.9}]
tools: {read: ["acme_*"]}
"""


@pytest.fixture
def own_rules() -> OwnRules:
    """Find customer numbers, and say that acme's tools only read."""
    return OwnRules.compiled([("acme.yaml", OWN_RULES.encode())])
