"""`edge-audio report`: a picture of the events of hours or months."""

from __future__ import annotations

from pathlib import Path

import click

from edge_audio.cli.console import remark, tell
from edge_audio.errors import UsageError
from edge_audio.report.bounds import Bounds
from edge_audio.report.contents import Report, read_report
from edge_audio.support.files import write_atomically

SUFFIXES = (".html", ".png")


@click.command()
@click.argument(
    "logs",
    metavar="LOG.jsonl...|HISTORY",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="The report: a page (.html) or a picture (.png, needs the plot extra).",
)
@click.option(
    "--clips",
    "clips_path",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of recorded clips, which the page plays.",
)
@click.option(
    "--from",
    "first",
    metavar="TIME",
    help="Leave out what was earlier: 2026-03-01, 2026-03-01T08:00 by the clocks of the place, or "
    "with a zone; of recordings seconds or minutes of audio, 90 or 1:30.",
)
@click.option("--to", "last", metavar="TIME", help="Leave out what began at that time or later.")
def report(
    logs: tuple[Path, ...],
    out: Path,
    clips_path: Path | None,
    first: str | None,
    last: str | None,
) -> None:
    """Draw a timeline of the events in a log.

    Reads what `edge-audio listen --json FILE` or `--format jsonl` wrote: rotated files in any
    order, also packed by gzip, pipes, and standard input (-); or what --history wrote. Damaged
    lines are counted and passed over. The page is one file that needs no network.

    \b
    edge-audio report sounds.jsonl
    edge-audio report sounds.jsonl* --from 2026-03-01 --to 2026-03-02 --out sunday.html
    edge-audio report sounds.jsonl --clips clips/
    edge-audio report sounds.jsonl --out sounds.png
    edge-audio report sounds.db
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: its name must end in {' or '.join(SUFFIXES)}")
    bounds = Bounds.parse(first, last)
    found = read_report(logs, bounds, clips_path)
    write_atomically(out, drawn(found, out))
    tell(f"drawn: {out} ({found.summary.n_events:,} events)")
    for line in found.remarks[1:]:
        remark(line)


def drawn(found: Report, out: Path) -> bytes:
    """The file, by its suffix."""
    if out.suffix == ".png":
        from edge_audio.report.picture import png_picture

        return png_picture(found)
    from edge_audio.report.page import html_page

    return html_page(found, out).encode(errors="replace")
