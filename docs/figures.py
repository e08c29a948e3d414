"""Brings what pages say of the shipped models up to date: counts and sizes in README.md, and what
each sensitivity brings in docs/events.md, from the manifests; what an app must know, in
docs/mobile.md and docs/mobile/detector_golden.json; the card of each bundle, from the rest of
it; and, where $EDGE_AUDIO_DATA has the recordings, what README.md shows of `edge-audio listen`.

    python docs/figures.py [--check]

With --check nothing is written; it fails where a page is not what it would write.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from distill.data.folders import named_clip_list
from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import SENSITIVITIES
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BundleError, UsageError
from quantize.publish.card import CARD_NAME, with_card
from tests.support.scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
mobile_contract = load_script(ROOT / "benchmarks" / "mobile_contract.py")
README, EVENTS = ROOT / "README.md", ROOT / "docs" / "events.md"
COMPARED = ("micro-int8", "tiny-xlstm-int8", "tiny-int8", "small-int8")
SHOWN = ("audio/esc10/5-200334-A.ogg", "audio/esc10/5-203128-A.ogg")
SENSITIVITY_HEAD = """\
| | sensitivity | labels on | right event | wrong event | false starts | confirmed |
|---|---|---|---|---|---|---|
"""
COMMAND = "$ edge-audio listen --source street.wav --format text\n"


def main() -> None:
    pages = {README: readme(README.read_text(encoding="utf-8"))}
    pages[EVENTS] = events_page(EVENTS.read_text(encoding="utf-8"))
    pages |= mobile_contract.generated(manifest_of(mobile_contract.DEFAULT_MODEL))
    stale_pages = mobile_contract.stale(pages)
    bundles = [one for one in map(load_bundle, shipped_bundles()) if not has_its_card(one)]
    stale = [*stale_pages, *(one.path / CARD_NAME for one in bundles)]
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(map(str, stale))}: python docs/figures.py writes what is so now")
    for path in stale_pages:
        path.write_text(pages[path], encoding="utf-8")
    for bundle in bundles:
        save_bundle(bundle.path, bundle.manifest, with_card(bundle.manifest, other_files(bundle)))
    for path in stale:
        print(f"wrote {path}")


def readme(page: str) -> str:
    """The page with figures as the manifests have them. Raises ValueError where it does not say
    what it used to."""
    for pattern, text in figures():
        page, n_found = re.subn(pattern, lambda _, text=text: text, page)  # type: ignore[misc]
        if n_found != 1:
            raise ValueError(f"README.md has {n_found} places for {text!r}, and not one")
    if recordings := shown_recordings():
        before, rest = page.split(COMMAND)
        page = f"{before}{COMMAND}{heard(recordings)}```{rest.split('```', 1)[1]}"
    return page


def shown_recordings() -> list[Path]:
    """None where they are not at hand."""
    try:
        paths = [named_clip_list().parent / name for name in SHOWN]
    except UsageError:
        return []
    return paths if all(path.is_file() for path in paths) else []


def figures() -> Iterator[tuple[str, str]]:
    """Where each stands, as a pattern, and what belongs there."""
    tiny, executorch = manifest_of("tiny-int8"), manifest_of("tiny-int8-executorch")
    facts, parts = tiny.provenance, "; LiteRT file {} MB, ONNX file {} MB, engine's {} MB |"
    files = (megabytes(tiny, f"model.{x}") for x in ("tflite", "onnx"))
    files_text = parts.format(*files, megabytes(tiny, "engine.bin"))
    yield r"(?<=engine and golden \| ).*? MB; LiteRT.*?\|", f"{megabytes(tiny)} MB{files_text}"
    whole, file = megabytes(executorch), megabytes(executorch, "model.pte")
    yield r"(?<=the same for ExecuTorch \| ).*?(?= \|)", f"{whole} MB; file {file} MB"
    counts = (facts["n_parameters"], facts["n_parameters_without_head"])
    yield r"(?<=\| parameters \| ).*?(?= without the head)", "{:,}; {:,}".format(*counts)
    yield r"(?<=recurrence included \| ).*?(?= M per)", f"{facts['mmac_per_s']:.2f}"
    n_on = [str(len(manifest_of(name).events.thresholds)) for name in COMPARED]
    yield r"(?<=\| labels on in the bundle \| ).*?(?= \| \|)", " | ".join(n_on)
    on, labels = len(tiny.events.thresholds), len(tiny.labels)
    yield r"\d+ of \d+(?= labels are on by default)", f"{on} of {labels}"


def events_page(page: str) -> str:
    """The page with what each sensitivity brings as the manifests have it. Raises ValueError where
    there is no table of it."""
    if page.count(SENSITIVITY_HEAD) != 1:
        raise ValueError("docs/events.md has no table of sensitivities")
    rows = "".join(row for name in COMPARED for row in sensitivity_rows(name))
    before, after = page.split(SENSITIVITY_HEAD)
    return before + SENSITIVITY_HEAD + rows + re.sub(r"^(\|.*\n)*", "", after)


def sensitivity_rows(name: str) -> Iterator[str]:
    manifest = manifest_of(name)
    clips, starts = (manifest.provenance[x] for x in ("single_clips", "adjudication"))
    for sensitivity in SENSITIVITIES:
        n_on = len(manifest.events.at_sensitivity(sensitivity).thresholds)
        right, wrong = (f"{100 * clips[sensitivity][x]:.1f}" for x in ("right", "wrong"))
        counts = starts[sensitivity]
        cells = [name, sensitivity, n_on, right, wrong, counts["starts"], counts["confirmed"]]
        yield f"| {' | '.join(map(str, cells))} |\n"
        name = ""


def manifest_of(name: str) -> Manifest:
    return load_bundle(name).manifest


def has_its_card(bundle: Bundle) -> bool:
    """Whether its card is what manifest and files bring, and the one that the manifest names."""
    try:
        card = bundle.read(CARD_NAME)
    except BundleError:
        return False
    return card == with_card(bundle.manifest, other_files(bundle))[CARD_NAME]


def other_files(bundle: Bundle) -> dict[str, bytes]:
    """All but the card and the manifest, as the manifest has them. Raises BundleError."""
    return {name: bundle.read(name) for name in bundle.manifest.files if name != CARD_NAME}


def megabytes(manifest: Manifest, file: str = "") -> str:
    """Of one file of a bundle, or of all."""
    paths = [x for x in load_bundle(manifest.name).path.iterdir() if file in ("", x.name)]
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.2f}"


def heard(recordings: list[Path]) -> str:
    """What `listen` prints of these, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        street = Path(folder) / "street.wav"
        sound = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in recordings])
        soundfile.write(street, sound, 16_000)
        command = (sys.executable, "-m", "edge_audio", "listen", "--format", "text")
        done = subprocess.run(
            [*command, "--source", str(street)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    lines = [line for line in done.stdout.splitlines() if re.search(r"  (start|end)  ", line)]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
