"""One contract for both databases, Postgres and the one in memory: what the stages rely on, query by query."""

from __future__ import annotations

from typing import Any, TypeAlias

Pool: TypeAlias = Any
"""asyncpg's, or the one in memory: the contract is that one need not know."""
Connection: TypeAlias = Any
"""Either one's."""
