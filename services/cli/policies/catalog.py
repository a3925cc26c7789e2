"""`waybill catalog check|show`: what providers and models there are, and what is probably not meant about them."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from services.cli.output import emit
from services.cli.policies.folder import Folder, config_folder, load_catalog, refusing
from services.cli.policies.policy import Json, Strict, report
from services.policy import Aliases
from services.policy.catalog import Catalog, Offer
from services.policy.catalog_lint import lint_catalog
from services.policy.prices import Rates
from services.policy.wording import counted

_WIDE: Final = 240


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The providers and models that there are.", no_args_is_help=True)
    group.command("check")(check)
    group.command("show")(show)
    app.add_typer(group, name="catalog")


def check(folder: Folder = None, strict: Strict = False, json: Json = False) -> None:
    """Check catalog and aliases: that they can be used, and what in them is probably not meant."""
    config = config_folder(folder)
    catalog = load_catalog(config)
    with refusing():
        aliases = Aliases.load(config / "aliases.yaml", catalog)
    findings = lint_catalog(catalog, aliases)
    about = {"catalog": catalog.hash, "aliases": aliases.hash, "models": len(catalog.models)}
    said = f"{counted(len(catalog.models), 'model')} and {counted(len(aliases.aliases), 'alias', 'aliases')}"
    report(findings, about, f"{said} checked", strict, json)


def show(
    folder: Folder = None,
    task: Annotated[str, typer.Option("--task", help="The task family whose quality is shown.")] = "default",
    json: Json = False,
) -> None:
    """Show every route with where it is, what it keeps and can do, how good it is, and what it costs."""
    catalog = load_catalog(config_folder(folder))
    if json:
        emit({"hash": catalog.hash, **catalog.content()}, json=True, text="")
        return
    # What is read by a program or a file is not cut to the width of a terminal.
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE).print(_table(catalog, task))


def _table(catalog: Catalog, task: str) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="dim")
    columns = ("route", "tier", "hosting", "keeps", "can", "context", "quality", "tools", "USD/M in", "out", "per call")
    for name in columns:
        table.add_column(name, no_wrap=True, justify="right" if name in columns[5:] else "left")
    for offer in catalog.offers:
        table.add_row(*_row(offer, task))
    return table


def _row(offer: Offer, task: str) -> tuple[str, ...]:
    provider, model, rates = offer.provider, offer.model, offer.price.bands[0]
    return (
        offer.route.name + (" (cannot be called here)" if provider.unavailable else ""),
        offer.route.tier,
        provider.hosting,
        f"{provider.retention_days} d in {', '.join(provider.kept_in)}" if provider.retention_days else "nothing",
        ", ".join(sorted(model.capabilities)),
        f"{model.context_window:,}",
        f"{model.quality_for(task):g}",
        "" if model.tool_reliability is None else f"{model.tool_reliability:g}",
        _per_million(rates.input),
        _per_million(rates.output),
        _per_call(rates),
    )


def _per_million(pico_per_token: int) -> str:
    return _plain(Decimal(pico_per_token).scaleb(-6))


def _per_call(rates: Rates) -> str:
    return _plain(Decimal(rates.request).scaleb(-12)) if rates.request else ""


def _plain(amount: Any) -> str:
    return format(amount.normalize(), "f")
