"""Fold-wise results as a table, and what is said above it."""

from __future__ import annotations

from rich.table import Table

from distill.evaluation.fold_results import FOLDS, LEAKY_GROUPS, FoldResults
from distill.evaluation.tables import format_estimate
from edge_audio.support.text import printable


def describe(results: FoldResults) -> str:
    """What was held out, and how the figures came about: printed above the table."""
    groups = ", ".join(
        f"fold {fold}: {len(names)}"
        for fold, names in zip(FOLDS, results.held_out_groups, strict=True)
    )
    return (
        f"{printable(str(results.checkpoint))} ({printable(results.recipe)}), "
        f"fine-tuned on four ESC folds and scored on the "
        f"fifth.\nRecordings held out from distillation and fine-tuning, {groups}; "
        f"folds.json names them.\n"
        f"Leak-aware: without the {results.n_leaky_clips} clips of recordings that several folds "
        f"share ({', '.join(LEAKY_GROUPS)}; and twins).\n"
        f"ESC-10: the same students, answering among its ten classes."
    )


def to_table(results: FoldResults) -> Table:
    """One row per figure; the int8 bundle, streaming, beside the float student."""
    table = Table(caption="per cent (95 % Wilson interval)")
    for column in ("", "int8, streaming", "float, whole clips"):
        table.add_column(column, justify="right" if column else "left")
    rows = {
        "ESC-50": "esc50",
        "ESC-50, leak-aware": "esc50_leak_aware",
        "ESC-10": "esc10",
        "ESC-10, leak-aware": "esc10_leak_aware",
    }
    for title, field in rows.items():
        cells = [getattr(one, field) for one in (results.bundle, results.student)]
        table.add_row(title, *(format_estimate(cell) for cell in cells))
        if field == "esc50":
            folds = (results.bundle.esc50_folds, results.student.esc50_folds)
            shares = (" ".join(f"{100 * share:.1f}" for share in one) for one in folds)
            table.add_row("  folds 1-5", *shares)
    return table
