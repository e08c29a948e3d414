"""ESC-50: meta/esc50.csv and audio/*.wav (Piczak, ACM Multimedia 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from distill.data.datasets.base import Listed, find_audio, read_table
from distill.data.licences import licence_tier
from edge_audio.errors import UsageError

# AudioSet display names of each class. "Can opening", "Drinking, sipping" and "Washing machine" are
# none: AudioSet has no such class.
LABELS = {
    "airplane": ("Fixed-wing aircraft, airplane", "Aircraft"),
    "breathing": ("Breathing",),
    "brushing_teeth": ("Toothbrush",),
    "can_opening": ("Can opening",),
    "car_horn": ("Vehicle horn, car horn, honking",),
    "cat": ("Cat", "Meow"),
    "chainsaw": ("Chainsaw",),
    "chirping_birds": ("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet"),
    "church_bells": ("Church bell", "Bell"),
    "clapping": ("Clapping",),
    "clock_alarm": ("Alarm clock", "Alarm"),
    "clock_tick": ("Clock", "Tick", "Tick-tock"),
    "coughing": ("Cough",),
    "cow": ("Cattle, bovinae", "Moo"),
    "crackling_fire": ("Fire", "Crackle"),
    "crickets": ("Cricket", "Insect"),
    "crow": ("Crow", "Caw"),
    "crying_baby": ("Baby cry, infant cry", "Crying, sobbing"),
    "dog": ("Dog", "Bark"),
    "door_wood_creaks": ("Door", "Creak"),
    "door_wood_knock": ("Door", "Knock"),
    "drinking_sipping": ("Drinking, sipping",),
    "engine": ("Engine",),
    "fireworks": ("Fireworks",),
    "footsteps": ("Walk, footsteps",),
    "frog": ("Frog", "Croak"),
    "glass_breaking": ("Glass", "Shatter"),
    "hand_saw": ("Sawing", "Tools"),
    "helicopter": ("Helicopter", "Aircraft"),
    "hen": ("Chicken, rooster", "Cluck"),
    "insects": ("Insect", "Buzz"),
    "keyboard_typing": ("Typing", "Computer keyboard"),
    "laughing": ("Laughter",),
    "mouse_click": ("Clicking",),
    "pig": ("Pig", "Oink"),
    "pouring_water": ("Pour", "Water"),
    "rain": ("Rain",),
    "rooster": ("Chicken, rooster", "Crowing, cock-a-doodle-doo"),
    "sea_waves": ("Ocean", "Waves, surf"),
    "sheep": ("Sheep", "Bleat"),
    "siren": ("Siren",),
    "sneezing": ("Sneeze",),
    "snoring": ("Snoring",),
    "thunderstorm": ("Thunderstorm", "Thunder"),
    "toilet_flush": ("Toilet flush",),
    "train": ("Train", "Rail transport"),
    "vacuum_cleaner": ("Vacuum cleaner",),
    "washing_machine": ("Washing machine",),
    "water_drops": ("Drip", "Water"),
    "wind": ("Wind",),
}
_COLUMNS = ("filename", "fold", "category", "esc10", "src_file")


def list_esc50(folder: Path, _names: Mapping[str, str]) -> list[Listed]:
    """Official folds; clips of one Freesound recording are a group. ESC-10 is CC BY 3.0, the
    rest CC BY-NC 3.0."""
    path = folder / "meta" / "esc50.csv"
    rows = read_table(path, _COLUMNS)
    try:
        return [_listed(folder, row) for row in rows]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path}: {error} is no class or fold of ESC-50") from error


def _listed(folder: Path, row: dict[str, str]) -> Listed:
    category, is_esc10 = row["category"], row["esc10"] == "True"
    licence = "CC BY 3.0" if is_esc10 else "CC BY-NC 3.0"
    return Listed(
        path=find_audio(folder / "audio", Path(row["filename"]).stem),
        name=row["filename"],
        labels=LABELS[category],
        fold=int(row["fold"]),
        group=f"fs:{row['src_file']}",
        licence=licence,
        tier=licence_tier(licence),
        source_repo="ESC-50",
        attribution=f"ESC-50, K. J. Piczak; Freesound clip {row['src_file']}",
        esc10_class=category if is_esc10 else "",
        esc50_class=category,
    )
