"""The `waybill` command: one file per command group, joined here."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from services.cli import cancel, classify, demo, deployment, feedback, keys, publish, stack, tenants
from services.cli.export import commands as export
from services.cli.facts import commands as facts
from services.cli.policies import commands as policies
from services.cli.records import held, record, replay
from services.cli.verification import command as verification
from services.cli.verification import proof_file
from services.proof.errors import ProofError
from services.runtime.errors import WaybillError

app = typer.Typer(
    name="waybill",
    help="Waybill routes AI jobs that can wait, and keeps an immutable record of each.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (
    *(demo, stack, deployment, tenants, publish, cancel, feedback, classify),
    *(record, replay, held, verification, proof_file, keys, facts, export, policies),
):
    group.register(app)


def main() -> None:
    """Run the command line; an error for people becomes two clear lines and exit status 1."""
    try:
        app()
    except (WaybillError, ProofError) as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]waybill:[/] {escape(str(error))}")
        if error.hint:
            console.print(f"  [dim]next:[/] {escape(error.hint)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
