"""A few tenants of every kind, and their secrets."""

from __future__ import annotations

from typing import Any

from services.tenancy import Tenants

SECRETS = {"APART_1": "a0", "SIGNED_1": "s1", "SIGNED_2": "s2", "OTHER_1": "o1", "BOTH_1": "b1"}


def some_tenants(**more: dict[str, Any]) -> Tenants:
    """Return tenants with topics, with keys, with both and with neither."""
    return Tenants.model_validate(
        {
            "version": 1,
            "tenants": {
                "apart": {"topics": True},
                "signed": {"keys": [{"id": "s-1", "secret": "SIGNED_1"}, {"id": "s-2", "secret": "SIGNED_2"}]},
                "other": {"keys": [{"id": "o-1", "secret": "OTHER_1"}, {"id": "o-gone", "secret": "OTHER_GONE"}]},
                "both": {"topics": True, "keys": [{"id": "b-1", "secret": "BOTH_1"}]},
                "listed": {},
                **more,
            },
        }
    )
