"""What can be wrong with an export, for people."""

from __future__ import annotations

from services.runtime.errors import WaybillError


class ExtraMissingError(WaybillError):
    """Parquet files need a library that is not installed."""

    hint = "Run `pip install 'waybill[export]'`."


class UnexportableError(WaybillError):
    """A value or a type of the facts has no place in a Parquet file."""

    hint = "Tell the maintainers: it is a defect of this release."


class FolderBusyError(WaybillError):
    """Another export writes into the folder."""

    hint = "Wait for it to end, or name another folder with --out."
