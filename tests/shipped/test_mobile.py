"""The phone samples: nothing here can build them, so all that they share with the package is
compared; test_mobile_kotlin.py compiles and runs what can be."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edge_audio.backends import litert
from edge_audio.backends.base import output_names
from edge_audio.backends.registry import EXECUTORCH, LITERT
from edge_audio.bundle import spec
from edge_audio.bundle.manifest import MANIFEST_NAME, SCHEMA_VERSION, FileEntry, Manifest
from edge_audio.bundle.store import load_bundle
from edge_audio.events import detector as events
from edge_audio.events import policy
from edge_audio.labels.family import Family
from quantize.publish.related import RELATED_NAME, RelatedLabels
from tests.support.paths import REPOSITORY
from tests.support.phone_samples import ANDROID, IOS, PURE
from tests.support.scripts import load_script

PAGE = REPOSITORY / "docs" / "mobile.md"
KOTLIN = sorted(ANDROID.rglob("*.kt"))
SWIFT = sorted(IOS.rglob("*.swift"))

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "TensorSpec": spec.TensorSpec,
    "FrontendSpec": spec.FrontendSpec,
    "ModelSpec": spec.ModelSpec,
    "Threshold": spec.Threshold,
    "EventSpec": spec.EventSpec,
    "FileEntry": FileEntry,
    "Manifest": Manifest,
    "Schema": Manifest,  # of which Swift reads one key first
    "RelatedLabels": RelatedLabels,
}
"""Types of the samples -> what they read. They bear the names of the package's own."""


def read(name: str) -> str:
    """The sample source of that file name."""
    (path,) = (path for path in [*KOTLIN, *SWIFT] if path.name == name)
    return path.read_text(encoding="utf-8")


contract = load_script(REPOSITORY / "benchmarks" / "mobile_contract.py")


# What is generated


def test_the_generated_files_are_up_to_date() -> None:
    manifest = load_bundle(contract.DEFAULT_MODEL).manifest
    assert contract.stale(contract.generated(manifest)) == []


def test_check_fails_for_a_stale_page_and_writing_cures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    copy = tmp_path / "mobile.md"
    copy.write_text(page.replace("`stem_0_next`", "`stem_0_new`"), encoding="utf-8")
    monkeypatch.setattr(contract, "PAGE", copy)
    assert CliRunner().invoke(contract.main, ["--check"]).exit_code == 1
    assert CliRunner().invoke(contract.main, []).exit_code == 0
    assert copy.read_text(encoding="utf-8") == page


def test_the_page_names_every_tensor_and_its_shape() -> None:
    model = load_bundle(contract.DEFAULT_MODEL).manifest.model
    page = PAGE.read_text(encoding="utf-8")
    for tensor in (model.frames, model.scores, *model.state):
        assert re.search(rf"`{tensor.name}`.*{re.escape(str(list(tensor.shape)))}", page)
    assert f"{model.latency_ms:g} ms" in page


def test_the_samples_variant_is_the_one_that_is_exported() -> None:
    pytest.importorskip("torch")
    from distill.training.trainer import load_student
    from quantize.graph.step import SampleStepGraph, StepGraph

    student, _ = load_student(REPOSITORY / "distill" / "checkpoints" / "tiny.pt")
    graph = StepGraph(student)
    assert contract.samples_variant(graph.spec) == SampleStepGraph(graph).spec


def test_the_detector_golden_covers_what_a_port_may_get_wrong() -> None:
    golden = msgspec.json.decode(contract.GOLDEN.read_bytes(), type=contract.DetectorGolden)
    is_time_before_label = False
    for case in golden.cases:
        assert {event.kind for event in case.events} == {"start", "end"}
        assert set(case.events_spec.thresholds) < set(case.labels)
        flushed = [event for event in case.events if event.step > len(case.scores)]
        assert flushed
        order = [case.labels.index(event.label) for event in flushed]
        is_time_before_label |= order != sorted(order)
    assert is_time_before_label
    shared = Counter((case.name, event.step) for case in golden.cases for event in case.events)
    assert max(shared.values()) > 1


def test_the_detector_golden_notices_a_detector_that_differs() -> None:
    golden = msgspec.json.decode(contract.GOLDEN.read_bytes(), type=contract.DetectorGolden)
    model = load_bundle(contract.DEFAULT_MODEL).manifest.model
    for change in (_smooth_more, _attack_as_release, _swap_durations, _without_hysteresis):
        assert any(
            replayed(case, model, spec=change(case.events_spec)) != case.events
            for case in golden.cases
        )


def replayed(
    case: Any,
    model: spec.ModelSpec,
    *,
    spec: spec.EventSpec | None = None,
    related: policy.Related | None = None,
) -> list[Any]:
    """What is reported of the scores of a case, with these settings in place of its own."""
    settings = (spec or case.events_spec, related or case.related)
    return list(contract.replay(case.labels, *settings, np.array(case.scores), model))


def test_the_detector_golden_notices_a_policy_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = msgspec.json.decode(contract.GOLDEN.read_bytes(), type=contract.DetectorGolden)
    model = load_bundle(contract.DEFAULT_MODEL).manifest.model
    cases = golden.cases[-len(policy.RELATED) :]
    assert [case.related for case in cases] == list(policy.RELATED)
    for case in cases:
        assert replayed(case, model) == case.events
        for related in set(policy.RELATED) - {case.related}:
            assert replayed(case, model, related=related) != case.events
    (most_specific,) = (case for case in cases if case.related == "most-specific")
    for name in ("ancestors", "synonyms"):
        with monkeypatch.context() as patch:
            patch.setattr(Family, name, lambda *_: frozenset())
            assert replayed(most_specific, model) != most_specific.events
    monkeypatch.setattr(policy, "FOLD_S", 0.08)
    assert replayed(most_specific, model) != most_specific.events


def _smooth_more(right: spec.EventSpec) -> spec.EventSpec:
    return msgspec.structs.replace(right, smoothing_s=right.smoothing_s + 0.001)


def _attack_as_release(right: spec.EventSpec) -> spec.EventSpec:
    return msgspec.structs.replace(right, attack_s=None)


def _swap_durations(right: spec.EventSpec) -> spec.EventSpec:
    return msgspec.structs.replace(right, min_on_s=right.min_off_s, min_off_s=right.min_on_s)


def _without_hysteresis(right: spec.EventSpec) -> spec.EventSpec:
    thresholds = {
        label: msgspec.structs.replace(threshold, off=threshold.on)
        for label, threshold in right.thresholds.items()
    }
    return msgspec.structs.replace(right, thresholds=thresholds)


# What the samples read from the manifest


READ = r'\.(?:get|opt)\w+\(\s*"(\w+)"'


def kotlin_keys(source: str) -> dict[str, set[str]]:
    """Type -> the JSON keys that its body reads."""
    classes = re.finditer(r"^data class (\w+)\(.*?^\}", source, re.DOTALL | re.MULTILINE)
    return {found.group(1): set(re.findall(READ, found.group())) for found in classes}


def swift_keys(source: str) -> dict[str, set[str]]:
    """Type -> the JSON keys that its CodingKeys name."""
    pattern = r"^(?:public )?struct (\w+): Decodable.*?^\}"
    structs = re.finditer(pattern, source, re.DOTALL | re.MULTILINE)
    return {
        found.group(1): set(re.findall(r'^ +case \w+ = "(\w+)"', found.group(), re.MULTILINE))
        for found in structs
    }


def unknown_keys(
    keys: Mapping[str, set[str]], structs: Mapping[str, type[msgspec.Struct]] = STRUCTS
) -> set[str]:
    """Keys, as Type.key, that the package does not write."""
    written = {
        f"{name}.{field.encode_name}"
        for name, struct in structs.items()
        for field in msgspec.structs.fields(struct)
    }
    return {f"{name}.{key}" for name, read_keys in keys.items() for key in read_keys} - written


SOURCES = {
    "Kotlin": (kotlin_keys, "BundleManifest.kt"),
    "Swift": (swift_keys, "BundleManifest.swift"),
}


@pytest.mark.parametrize("language", SOURCES)
def test_every_key_that_is_read_is_written(language: str) -> None:
    read_keys, name = SOURCES[language]
    keys = read_keys(read(name))
    assert unknown_keys(keys) == set()
    assert set(keys) >= set(STRUCTS) - {"Schema"}
    assert all(keys.values())


@pytest.mark.parametrize("language", SOURCES)
def test_a_key_renamed_in_the_package_is_noticed(language: str) -> None:
    read_keys, name = SOURCES[language]
    fields = [("min_on_seconds" if x == "min_on_s" else x, Any) for x in _names(spec.EventSpec)]
    renamed = {**STRUCTS, "EventSpec": msgspec.defstruct("EventSpec", fields)}
    assert unknown_keys(read_keys(read(name)), renamed) == {"EventSpec.min_on_s"}


def _names(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def test_no_key_is_read_outside_of_these_types() -> None:
    source = read("BundleManifest.kt")
    assert set(re.findall(READ, source)) == set().union(*kotlin_keys(source).values())
    in_app = [
        path for path in KOTLIN if "test" not in path.parts and path.name != "BundleManifest.kt"
    ]
    assert not [path for path in in_app if "JSONObject" in path.read_text(encoding="utf-8")]


def test_both_apps_read_the_same_keys() -> None:
    kotlin = kotlin_keys(read("BundleManifest.kt"))
    swift = swift_keys(read("BundleManifest.swift"))
    swift["Manifest"] |= swift.pop("Schema")
    assert kotlin == swift


def test_constants_are_those_of_the_package() -> None:
    kotlin, swift = read("BundleManifest.kt"), read("BundleManifest.swift")
    assert f"SCHEMA_VERSION = {SCHEMA_VERSION}\n" in kotlin
    assert f"schemaVersion = {SCHEMA_VERSION}\n" in swift
    for source in (kotlin, swift):
        assert f'"{MANIFEST_NAME}"' in source
        assert '"samples"' in source
        assert f'"{RELATED_NAME}"' in source
    assert "samples" in get_args(get_type_hints(spec.ModelSpec)["input"])
    for name in ("LitertStepModel.kt", "LitertStepModel.swift"):
        assert f'"{LITERT.file}"' in read(name)
        assert f'"{litert.SIGNATURE_NAME}"' in read(name)
    for name in ("ExecutorchStepModel.kt", "ExecutorchStepModel.swift"):
        assert f'"{EXECUTORCH.file}"' in read(name)
        assert '"tensor_names"' in read(name)


def test_a_successor_has_the_name_that_the_package_gives_it() -> None:
    model = load_bundle("tiny-int8").manifest.model
    state = model.state[0].name
    suffix = output_names(model)[1].removeprefix(state)
    assert f'"${{state.name}}{suffix}"' in read("BundleManifest.kt")
    assert f'"\\(state.name){suffix}"' in read("BundleManifest.swift")


def test_types_of_tensors_are_those_of_the_package() -> None:
    (members,) = re.findall(
        r"enum class DType\(.*?\{\n(.*?)\}", read("BundleManifest.kt"), re.DOTALL
    )
    sizes = {name.lower(): int(size) for name, size in re.findall(r"(\w+)\((\d)\)", members)}
    assert sizes == {dtype: np.dtype(dtype).itemsize for dtype in get_args(spec.DType)}


def test_the_detectors_tolerate_the_same_rounding_of_times() -> None:
    for name in ("EventDetector.kt", "EventDetector.swift"):
        (found,) = re.findall(r"[Ee](?:PSILON_S|psilonS) = (\S+)", read(name))
        assert float(found) == events._EPSILON_S  # noqa: SLF001


def test_the_policies_wait_as_long_for_a_more_specific_label() -> None:
    for name in ("EventPolicy.kt", "EventPolicy.swift"):
        (fold_s,) = re.findall(r"[Ff](?:OLD_S|oldS) = (\S+)", read(name))
        (epsilon_s,) = re.findall(r"[Ee](?:PSILON_S|psilonS) = (\S+)", read(name))
        assert float(fold_s) == policy.FOLD_S
        assert float(epsilon_s) == policy._EPSILON_S  # noqa: SLF001


# What the page says of the samples


def test_every_source_is_on_the_page_and_all_that_is_there_exists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+\.(?:kt|swift))`", page))
    assert named == {path.name for path in [*KOTLIN, *SWIFT]} - {"Package.swift"}
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", page):
        assert (PAGE.parent / link).exists(), link


def test_versions_on_the_page_are_those_of_the_builds() -> None:
    page = PAGE.read_text(encoding="utf-8")
    gradle = (ANDROID / "build.gradle.kts").read_text(encoding="utf-8")
    pinned = re.findall(r'(?:Implementation"?\(|version )"(?:[\w.:-]+:)?([\d.]+)"', gradle)
    assert len(pinned) == 6
    for version in pinned:
        assert version in page
    (branch,) = re.findall(r'branch: "([\w.-]+)"', (IOS / "Package.swift").read_text("utf-8"))
    assert f"`{branch}`" in page


def test_the_first_sentence_says_what_was_not_run() -> None:
    paragraph = PAGE.read_text(encoding="utf-8").split("\n\n")[1]
    assert paragraph.startswith("**Nothing on this page was run on a phone.**")


# The sources themselves


def test_the_android_manifest_asks_for_what_the_service_needs() -> None:
    prefix = "{http://schemas.android.com/apk/res/android}"
    root = ElementTree.parse(ANDROID / "src/main/AndroidManifest.xml").getroot()
    permissions = {x.get(f"{prefix}name", "").split(".")[-1] for x in root.iter("uses-permission")}
    assert permissions == {
        "RECORD_AUDIO",
        "FOREGROUND_SERVICE",
        "FOREGROUND_SERVICE_MICROPHONE",
        "POST_NOTIFICATIONS",
    }
    (service,) = root.iter("service")
    assert service.get(f"{prefix}foregroundServiceType") == "microphone"
    components = [
        x.get(f"{prefix}name", "").lstrip(".") for x in root.iter() if x.tag in _COMPONENTS
    ]
    assert all(f"class {name}" in read(f"{name}.kt") for name in components)


_COMPONENTS = ("activity", "service")


def test_every_string_resource_exists_and_is_used() -> None:
    root = ElementTree.parse(ANDROID / "src/main/res/values/strings.xml").getroot()
    used = {
        name for path in KOTLIN for name in re.findall(r"R\.string\.(\w+)", path.read_text("utf-8"))
    }
    manifest = (ANDROID / "src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    used |= set(re.findall(r"@string/(\w+)", manifest))
    assert used == {element.get("name") for element in root}


@pytest.mark.parametrize("path", [*KOTLIN, *SWIFT], ids=lambda path: path.name)
def test_a_source_is_whole(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    code = re.sub(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', "", source, flags=re.DOTALL)
    for opening, closing in ("()", "[]", "{}"):
        assert code.count(opening) == code.count(closing)
    assert "TODO" not in source
    assert max(map(len, source.splitlines())) <= 100


@pytest.mark.skipif(shutil.which("swiftc") is None, reason="swiftc is not installed")
def test_swift_compiles_what_needs_no_phone() -> None:
    sources = [path for path in SWIFT if path.stem in PURE]
    assert len(sources) == len(PURE)
    subprocess.run(["swiftc", "-typecheck", *sources], check=True)
