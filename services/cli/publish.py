"""`waybill publish`: a file of jobs, native or in OpenAI's batch format, onto the requests topic."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Final, Self

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from schemas.codes import LatencyClass
from schemas.job import Identifier, TenantId
from services.cli.environment import settings as load_settings
from services.cli.output import emit
from services.cli.publishing.address import SHARED, Address, Signer, own_address
from services.cli.publishing.lines import Format, open_source, size_of
from services.cli.publishing.openai_batch import Defaults
from services.cli.publishing.run import Request, execute
from services.cli.publishing.sinks import Sinks
from services.cli.publishing.summary import Summary
from services.cli.when import parse_deadline, parse_duration

INTERRUPTED: Final = 130
REFRESH_SECONDS: Final = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)


def publish(
    file: Annotated[Path, typer.Argument(help="JSON lines, one job each; - is standard input.")],
    format: Annotated[Format | None, typer.Option(help="By default told from the first line.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose jobs these are (openai-batch); default: $WAYBILL_TENANT.")
    ] = None,
    latency_class: Annotated[
        LatencyClass | None, typer.Option(help="How long they may wait (openai-batch); default: batch.")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            help="RFC 3339, or a duration such as 24h from now (openai-batch). The same file published with "
            "another deadline conflicts with its first publication."
        ),
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Which alias to ask for (openai-batch).")] = None,
    topics_of: Annotated[
        str | None, typer.Option(help="Use the topics of this tenant, which has some of its own.", metavar="TENANT")
    ] = None,
    key_id: Annotated[str | None, typer.Option(help="Sign each job with this key of the tenant's.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="Name of that key's secret: a file in the secrets folder, or a variable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the results.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait, counted from the last line.")] = "30m",
    out: Annotated[
        Path | None, typer.Option(help="Answers (with --wait): OpenAI output lines, or results as they are.")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="Failures and refused lines; without it, failures go to --out too.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish jobs, and with --wait follow them to their results.

    Publishing a file again adds nothing where jobs have idempotency keys; lines of an OpenAI batch get theirs from
    custom_id and content. What Waybill cannot ask a model for (n > 1, stream, images) is refused by name.

    The exit status is 0 if every line got what it asked for, else 1.
    """
    if out is not None and not wait:
        raise typer.BadParameter("there are no answers to write without --wait", param_hint="--out")
    address = _address(topics_of, key_id, secret)
    options = _BatchOptions(tenant, latency_class, deadline, alias)
    summary = Summary(waited=wait)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with open_source(file) as source, Sinks(out, errors, say=lambda text: console.print(text, markup=False)) as sinks:
        request = Request(source, format, options.defaults, wait, _duration(timeout), address)
        with _Display(console, source) as display:
            try:
                asyncio.run(execute(load_settings(), request, sinks, summary, display.show))
            except KeyboardInterrupt:
                summary.interrupted = True
    emit(summary.as_json(), json=json, text=summary.as_text())
    if advice := summary.advice():
        console.print(f"[yellow]waybill:[/] {escape(advice)}")
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not summary.succeeded:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _BatchOptions:
    """The options that say what a batch file does not; a native job says all of it itself."""

    tenant: str | None
    latency_class: LatencyClass | None
    deadline: str | None
    alias: str | None

    def defaults(self, format: Format) -> Defaults | None:
        """Return what fills the jobs in; raises ``typer.BadParameter`` where options and format do not fit."""
        if format is Format.NATIVE:
            self._refuse_all()
            return None
        tenant = self.tenant or os.environ.get("WAYBILL_TENANT")
        if not tenant:
            raise typer.BadParameter("an OpenAI batch needs one; WAYBILL_TENANT does as well", param_hint="--tenant")
        return Defaults(
            tenant=_checked(TenantId, tenant, "--tenant", "has lower-case letters, digits, _ and -"),
            latency_class=self.latency_class or LatencyClass.BATCH,
            deadline=self._deadline(),
            alias=self.alias and _checked(Identifier, self.alias, "--alias", "has letters, digits, and . _ - inside"),
        )

    def _refuse_all(self) -> None:
        given: Mapping[str, object] = {
            "--tenant": self.tenant,
            "--latency-class": self.latency_class,
            "--deadline": self.deadline,
            "--alias": self.alias,
        }
        for option, value in given.items():
            if value is not None:
                raise typer.BadParameter("is for openai-batch; native jobs say it themselves", param_hint=option)

    def _deadline(self) -> datetime | None:
        if self.deadline is None:
            return None
        try:
            return parse_deadline(self.deadline, datetime.now(UTC))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--deadline") from None


def _address(topics_of: str | None, key_id: str | None, secret: str | None) -> Address:
    """Return where jobs go, and as whose; raises ``typer.BadParameter`` where the options do not fit together."""
    if (key_id is None) != (secret is None):
        raise typer.BadParameter("a key's id and its secret's name go together", param_hint="--key-id, --secret")
    if topics_of is not None:
        if key_id is not None:
            raise typer.BadParameter("on a tenant's own topics nothing is signed", param_hint="--topics-of, --key-id")
        return own_address(_checked(TenantId, topics_of, "--topics-of", "has lower-case letters, digits, _ and -"))
    return SHARED if key_id is None or secret is None else Address(signer=Signer.find(load_settings(), key_id, secret))


def _checked(kind: Any, value: str, option: str, rule: str) -> str:
    try:
        checked: str = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        raise typer.BadParameter(f"{rule}, at most 64", param_hint=option) from None
    return checked


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None


class _Display:
    """Progress on a terminal: how much of the file is published, how many results came. Elsewhere nothing."""

    def __init__(self, console: Console, source: BinaryIO) -> None:
        self._source = source
        self._size = size_of(source)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._published = self._bar.add_task("published", total=self._size)
        self._results = self._bar.add_task("results", total=None, visible=False)
        self._next = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, summary: Summary) -> None:
        """Show how far it came; called once a line, so it mostly returns at once."""
        if self._bar.disable or (now := time.monotonic()) < self._next:
            return
        self._next = now + REFRESH_SECONDS
        done = None if self._size is None else self._source.tell()
        self._bar.update(self._published, description=f"published {summary.published:,}", completed=done)
        came = summary.statuses.total()
        if came:
            self._bar.update(
                self._results,
                description=f"results {came:,} of {summary.published:,}",
                total=summary.published,
                completed=came,
                visible=True,
            )
