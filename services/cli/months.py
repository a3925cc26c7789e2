"""Months as the partitions count them, in UTC, each named by its first moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID


def month_of(moment: datetime) -> datetime:
    """Return the first moment of the month that holds another."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the first moment of the month after."""
    return (month + timedelta(days=31)).replace(day=1)


def moment_of(record_id: UUID) -> datetime:
    """Return the moment in a record's id, to the millisecond."""
    return datetime.fromtimestamp((record_id.int >> 80) / 1000, UTC)
