"""What this library raises at people: each error names the file and the rule, model or alias that is wrong."""

from __future__ import annotations


class PolicyError(Exception):
    """A policy, catalog or alias file cannot be used.

    ``hint`` is one sentence saying what to do next. Only what stands in operators' files is ever quoted, never a job.
    """

    hint: str = "Correct the file and load it again; nothing was changed."

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        if hint:
            self.hint = hint


class FileError(PolicyError):
    """A configuration file cannot be read."""


class BundleError(PolicyError):
    """A policy bundle is not valid."""


class CatalogError(PolicyError):
    """The catalog is not valid."""

    def __init__(self, message: str = "", *, hint: str = "", model: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.model = model
        """The place among the models of the one that is wrong, where it is one."""


class AliasError(PolicyError):
    """The aliases are not valid."""
