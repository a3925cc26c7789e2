"""`waybill up`, `down`, `status`: the whole of Waybill on this machine.

What it drives is an extra, so it is imported when a command runs: production installs do without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from services.runtime.errors import WaybillError
from services.standalone import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    from services.standalone.stack import Stack, StackStatus

StateDir = Annotated[
    Path,
    typer.Option(
        "--state-dir", envvar="WAYBILL_STATE_DIR", help="Folder that keeps the stack's data, logs and secrets."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

STATE_STYLES = {"ready": "green", "degraded": "yellow", "starting": "yellow", "stopping": "yellow", "down": "red"}


class StandaloneMissingError(WaybillError):
    """The packages of the standalone stack are not installed."""

    hint = "Install them with `pip install 'waybill[standalone]'` (Linux and macOS)."


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    state_dir: StateDir = DEFAULT_STATE_DIR,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops everything.")] = False,
    no_services: Annotated[bool, typer.Option("--no-services", help="Only PostgreSQL and Kafka.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start everything on this machine, and return when it is ready.

    DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS, where set, are used instead of the embedded servers.
    """
    stack = open_stack(state_dir)
    parts = stack.SERVERS_ONLY if no_services else stack.ALL_PARTS
    with StartDisplay() as display:
        already = stack.status().running
        if not foreground or already:
            status = stack.start(parts, doing=display.doing, jars=display.jars)
            display.close()
            if already and not as_json:
                Console(stderr=True, highlight=False).print("It is up already.")
            show(status, as_json)
            return

        def ready(status: StackStatus) -> None:
            display.close()
            show(status, as_json)
            Console(stderr=True, highlight=False).print("Ctrl-C stops it.")

        stack.run(parts, doing=display.doing, jars=display.jars, ready=ready)


def down(state_dir: StateDir = DEFAULT_STATE_DIR, as_json: AsJson = False) -> None:
    """Stop everything that `waybill up` started, and wait for it; the data stays."""
    stack = open_stack(state_dir)
    was_running = stack.status().state != "down"
    stack.stop()
    if as_json:
        show(stack.status(), as_json=True)
    else:
        Console(highlight=False).print("Stopped." if was_running else "Nothing was running.")


def status(state_dir: StateDir = DEFAULT_STATE_DIR, as_json: AsJson = False) -> None:
    """Say how the stack is and where its servers listen; exit status 1 unless it is up."""
    found = open_stack(state_dir).status()
    show(found, as_json)
    if not found.running:
        raise typer.Exit(1)


def open_stack(state_dir: Path) -> Stack:
    """Return the stack of a folder; raises :class:`StandaloneMissingError` where its packages are not installed."""
    try:
        from services.standalone.stack import Stack
    except ImportError as error:
        raise StandaloneMissingError from error
    return Stack(state_dir)


def show(status: StackStatus, as_json: bool) -> None:
    """Print a status for people, or for programs."""
    if as_json:
        typer.echo(status.model_dump_json(indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold {STATE_STYLES[status.state]}]{status.state}[/]  {escape(status.state_dir)}")
    if status.state == "down":
        console.print("Start it with `waybill up`.")
        return
    for name in ("database_url", "kafka_bootstrap_servers", "simulator_url"):
        if (value := getattr(status, name)) is not None:
            console.print(f"{name:24} {value}", markup=False)
    table = Table("process", "pid", "state", "restarts", "http", box=None, pad_edge=False, header_style="dim")
    for process in status.processes:
        pid = "" if process.pid is None else str(process.pid)
        table.add_row(process.name, pid, process.state, str(process.restarts), process.http_addr or "")
    if status.processes:
        console.print(table)


class StartDisplay:
    """What is being done, on standard error: a progress bar on a terminal, one line each elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> StartDisplay:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    def jars(self, done: int, total: int) -> None:
        """Show how many of Kafka's jars are there."""
        if self._task is None:
            self.doing("fetching Kafka, once")
            self._task = self._bar.add_task("fetching Kafka", total=total)
        self._bar.update(self._task, completed=done)

    def doing(self, what: str) -> None:
        """Say what is being done now."""
        self._console.print(f"  {what}", style="dim", markup=False)
