"""What Waybill raises at people: each error says what happened, to which thing, and what to do next."""

from __future__ import annotations


class WaybillError(Exception):
    """Something went wrong that a person can act on.

    A subclass's docstring is its default message. ``hint`` is one sentence saying what to do next.
    Neither may ever hold a job's content or a secret: both reach logs and terminals.
    """

    hint: str = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0])
        if hint:
            self.hint = hint
