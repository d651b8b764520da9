"""``otpctl report``."""

from typing import Any

import click

from otpd.cli.coverage import Person, members, people
from otpd.cli.session import Session, json_option, pass_session
from otpd.cli.table import show_table
from otpd.texts import _


@click.command()
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Report on this group; repeatable.")
@json_option
@pass_session
def report(session: Session, groups: tuple[str, ...]) -> None:
    """Report how many have enrolled, and who has not, or has no recovery codes. For root.

    \b
    Example:
      otpctl report --group staff --group admins
    """
    everybody = {one.name: one for one in people(session, groups) if one.account}
    rows = [_row(group, [everybody[name] for name in sorted(members(session, group))]) for group in groups]
    total = _row(_("all of them") if groups else _("all accounts"), list(everybody.values()))
    if session.as_json:
        session.show({"groups": rows, "total": total}, "")
        return
    titles = (_("GROUP"), _("ACCOUNTS"), _("ENROLLED"), _("SHARE"), _("NO RECOVERY CODES"))
    show_table(titles, [_cells(row) for row in [*rows, total]])
    for title, names in (
        (_("Not enrolled"), total["not_enrolled"]),
        (_("No recovery codes"), total["no_recovery_codes"]),
    ):
        click.echo(f"\n{title}: {' '.join(names) or _('nobody')}")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    share = f"{100 * row['enrolled'] // row['accounts']} %" if row["accounts"] else "-"
    return (row["group"], row["accounts"], row["enrolled"], share, len(row["no_recovery_codes"]))


def _row(group: str, found: list[Person]) -> dict[str, Any]:
    return {
        "group": group,
        "accounts": len(found),
        "enrolled": sum(one.enrolled for one in found),
        "not_enrolled": [one.name for one in found if not one.enrolled],
        "no_recovery_codes": [one.name for one in found if one.enrolled and not one.has_recovery_codes],
    }
