"""Options that several commands have."""

from __future__ import annotations

import click

settings_option = click.option(
    "--set",
    "settings",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Change a field of the recipe, such as training.n_steps=1000; may be repeated.",
)
