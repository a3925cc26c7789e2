"""Where answers and failures are written, line by line as they come; nothing is kept in memory.

Without a file for failures they go to the file of the answers, so that no result is lost; without either, the results
are only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import orjson

from schemas.codes import Status
from schemas.result import Result
from services.cli.publishing import openai_output
from services.cli.publishing.expected import Waiting
from services.cli.publishing.items import Refusal
from services.cli.publishing.lines import Format
from services.cli.publishing.summary import DEAD_LETTERED
from services.cli.publishing.watch import DeadLetter
from services.runtime.errors import WaybillError

NAMED_REFUSALS: Final = 20


class OutputError(WaybillError):
    """A file cannot be written."""

    hint = "Name a file in a folder that exists and can be written."


class Sinks:
    """The files of one run; use it as a context manager. ``say`` shows a person what no file takes."""

    def __init__(self, out: Path | None, errors: Path | None, *, say: Callable[[str], None]) -> None:
        self.format = Format.NATIVE
        self._paths = (out, errors)
        self._say = say
        self._said = 0
        self._files = ExitStack()
        self._out: BinaryIO | None = None
        self._errors: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Open the files; raises :class:`OutputError`."""
        try:
            self._out, self._errors = (
                None if path is None else self._files.enter_context(path.open("wb")) for path in self._paths
            )
        except OSError as error:
            self._files.close()
            raise OutputError(f"{error.filename} cannot be written: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.close()

    def refuse(self, refusal: Refusal) -> None:
        """Record a line that is not published; without a file for errors, the first ones are shown."""
        if self._errors is not None:
            if self.format is Format.NATIVE:
                content = _native_line(refusal.line, "refused", refusal.code, refusal.message, refusal.field)
            else:
                content = openai_output.refusal_line(refusal)
            _write(self._errors, content)
            return
        self._said += 1
        if self._said <= NAMED_REFUSALS:
            self._say(str(refusal))
        elif self._said == NAMED_REFUSALS + 1:
            self._say("more lines are refused; --errors FILE takes them all")

    def settle(self, waiting: Waiting, document: Mapping[str, Any]) -> None:
        """Record the result of a line."""
        if self._out is None and self._errors is None:
            return
        if self.format is Format.NATIVE:
            file = self._out if document.get("status") == Status.SUCCEEDED else self._errors or self._out
            content: Mapping[str, Any] = document
        else:
            result = Result.model_validate(document)
            file = self._out if openai_output.succeeded(result) else self._errors or self._out
            content = openai_output.output_line(result, waiting.custom_id)
        if file is not None:
            _write(file, content)

    def bury(self, waiting: Waiting, letter: DeadLetter) -> None:
        """Record a line of which no record could be made."""
        file = self._errors or self._out
        if file is None:
            self._say(f"line {waiting.line}: {DEAD_LETTERED}: {letter.reason}")
        elif self.format is Format.NATIVE:
            _write(file, _native_line(waiting.line, DEAD_LETTERED, letter.code, letter.reason))
        else:
            _write(file, openai_output.failure_line(waiting.line, waiting.custom_id, letter.code, letter.reason))


def _native_line(line: int, status: str, code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """Return what stands for a line that has no result."""
    return {"line": line, "status": status, "error": {"code": code, "field": field, "message": message}}


def _write(file: BinaryIO, content: Mapping[str, Any]) -> None:
    file.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
