"""The web target's folder: a page in one file that opens by double click, and its parts for a
server. Nothing in it knows of any other address."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

import msgspec

import edge_audio
from edge_audio.errors import UsageError
from firmware_bridge.builders.base import BuildJob, Built, Sensitivities
from firmware_bridge.toolchains import compile_program

WEB_DIR = Path(__file__).parents[1] / "targets" / "wasm"
SHARED_DIR = Path(edge_audio.__file__).parent / "page" / "static"  # with the page of a listener
MODULE_NAME = "edge_audio.wasm"
IMAGE_NAME = "edge_audio_image.bin"
ALIGNMENT_BYTES = 64  # lost between the parts of the arena, at most
PARTS = ("page.js", "view.js", "worklet.js", "edge_audio.js", "style.css", "run.mjs")
SHARED_PARTS = ("drawing.js", "look.css")

_HOSTED_POLICY = "script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'"
_STYLE_LINKS = "".join(
    f'    <link rel="stylesheet" href="{name}">\n' for name in ("look.css", "style.css")
)
_SCRIPT_LINK = '<script type="module" src="page.js"></script>'
_NO_SENSITIVITIES = '<script type="application/json" id="edge-audio-sensitivities">{}</script>'
_IMPORT = 'from "./{name}";\n'


def build_web(job: BuildJob) -> Built:
    """Compiles the module, which has just the memory that it needs with this image, and writes
    the page around it. Raises EdgeAudioError with what the compiler said."""
    folder, src = job.folder, job.folder / "src"
    engine = [path for path in sorted(src.glob("*.c")) if path.name != "edge_audio_image.c"]
    n_bytes = len(job.image) + job.stream_bytes + ALIGNMENT_BYTES
    flags = [f"-DEDGE_AUDIO_ARENA_BYTES={-(-n_bytes // 4096) * 4096}u"]
    module = folder / MODULE_NAME
    compile_program(job.toolchain, [*engine, folder / "port" / "wasm.c"], module, [src], flags)
    write_web_folder(folder, module.read_bytes(), job.image, job.sensitivities)
    return Built((module, folder / IMAGE_NAME))


def write_web_folder(
    folder: Path, module: bytes, image: bytes, sensitivities: Sensitivities
) -> None:
    """module: the compiled engine, without an image; image: the engine image; sensitivities: those
    that the page offers, see `BuildJob`.

    Writes index.html, which is whole; hosted.html, the same page for a server, with its parts;
    run.mjs for Node. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODULE_NAME).write_bytes(module)
    (folder / IMAGE_NAME).write_bytes(image)
    for name in (*PARTS, *SHARED_PARTS):
        shutil.copyfile(_path(name), folder / name)
    hosted = page(sensitivities)
    (folder / "hosted.html").write_text(hosted, encoding="utf-8")
    (folder / "index.html").write_text(single_page(hosted, module, image), encoding="utf-8")


def page(sensitivities: Sensitivities) -> str:
    """The page for a server, with the sensitivities that it offers."""
    table = msgspec.json.encode(sensitivities).decode().replace("<", "\\u003c")
    return _replaced(_part("index.html"), _NO_SENSITIVITIES, _NO_SENSITIVITIES.replace("{}", table))


def single_page(text: str, module: bytes, image: bytes) -> str:
    """The page for a server, `text`, whole in one HTML text, which needs none. Its policy allows
    the scripts and the style that it was made with, by their hashes, the worklet as a data URL
    (which is all that Chromium lets pages opened as files have), and no connection at all."""
    style = _part("look.css") + _part("style.css")
    script = _joined("drawing.js", "view.js", "page.js")
    policy = (
        f"script-src {_hash_source(script)} data: 'wasm-unsafe-eval'; "
        f"style-src {_hash_source(style)}"
    )
    worklet = _joined("edge_audio.js", "worklet.js")
    blocks = "".join(
        f'    <script type="text/plain" id="edge-audio-{name}">{_base64(content)}</script>\n'
        for name, content in (("worklet", worklet.encode()), ("wasm", module), ("image", image))
    )
    for old, new in (
        (_HOSTED_POLICY, policy),
        (_STYLE_LINKS, f"    <style>{style}</style>\n"),
        (_SCRIPT_LINK, f'<script type="module">{script}</script>'),
        ("  </body>\n", f"{blocks}  </body>\n"),
    ):
        text = _replaced(text, old, new)
    return text


def _path(name: str) -> Path:
    return (SHARED_DIR if name in SHARED_PARTS else WEB_DIR) / name


def _part(name: str) -> str:
    return _path(name).read_text(encoding="utf-8")


def _joined(*modules: str) -> str:
    """Modules as one script, each behind those that it imports from: what has no neighbours, such
    as a data URL, can import nothing."""
    ends = tuple(_IMPORT.format(name=name) for name in modules)
    lines = [line for name in modules for line in _part(name).splitlines(True)]
    return "".join(line for line in lines if not line.endswith(ends))


def _replaced(text: str, old: str, new: str) -> str:
    if not old or text.count(old) != 1:
        raise UsageError(f"the page's sources in {WEB_DIR} were changed: expected {old!r} once")
    return text.replace(old, new)


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
