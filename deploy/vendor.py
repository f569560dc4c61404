"""`make vendor`: writes the few browser modules that the console stands on into `gateway/console/static/vendor/`.

They are kept in the repository, so that nothing is fetched or built when the project is installed or run. To take a newer version, write
its number and its integrity (`npm view NAME@VERSION dist.integrity`) here and run this again.
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "gateway" / "console" / "static" / "vendor"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of the npm registry: `integrity` is of its archive, `files` are what is taken of it and under which names."""

    name: str
    version: str
    integrity: str
    files: dict[str, str]
    licence: str


PACKAGES = (
    Package(
        name="preact",
        version="11.2.0",
        integrity="sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        files={"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "preact-hooks.js"},
        licence="MIT",
    ),
    Package(
        name="htm",
        version="3.1.1",
        integrity="sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        files={"dist/htm.mjs": "htm.js"},
        licence="Apache-2.0",
    ),
    Package(
        name="@preact/signals-core",
        version="1.14.5",
        integrity="sha512-vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
        files={"dist/signals-core.mjs": "signals-core.js"},
        licence="MIT",
    ),
    Package(
        name="@preact/signals",
        version="2.11.4",
        integrity="sha512-Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==",
        files={"dist/signals.mjs": "signals.js"},
        licence="MIT",
    ),
    Package(
        name="uplot",
        version="1.6.32",
        integrity="sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        files={"dist/uPlot.esm.js": "uplot.js", "dist/uPlot.min.css": "uplot.css"},
        licence="MIT",
    ),
    Package(
        name="uqr",
        version="0.1.3",
        integrity="sha512-0rjE8iEJe4YmT9TOhwsZtqCMRLc5DXZUI2UEYUUg63ikBkqqE5EYWaI0etFe/5KUcmcYwLih2RND1kq+hrUJXA==",
        files={"dist/index.mjs": "uqr.js"},
        licence="MIT",
    ),
    Package(
        name="@noble/hashes",
        version="2.4.0",
        integrity="sha512-X5XaVWZIBCT7HHZGm5I7ZQXDwLG+bGXuSrMQAW+7Zvl87h1kmc1ZB1VSRJcpUfoUrGQp4Fkoxm5kZ+Ms+aW+eA==",
        files={
            "blake2.js": "noble-blake2.js",
            "_blake.js": "noble-blake.js",
            "_md.js": "noble-md.js",
            "_u64.js": "noble-u64.js",
            "utils.js": "noble-utils.js",
        },
        licence="MIT",
    ),
)

# What a module imports by a package's name, or by a name within its package, a browser finds by a file's.
_IMPORTS = {
    "preact": "./preact.js",
    "preact/hooks": "./preact-hooks.js",
    "@preact/signals-core": "./signals-core.js",
    "./_blake.js": "./noble-blake.js",
    "./_md.js": "./noble-md.js",
    "./_u64.js": "./noble-u64.js",
    "./utils.js": "./noble-utils.js",
}
_SPECIFIER = re.compile(rf"""\b(from|import)( ?["'])({"|".join(map(re.escape, _IMPORTS))})["']""")  # as modules have it, minified or not
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")


def main() -> None:
    """Fetch each package, check it, and write its files, its licence and the manifest."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    manifest = [_taken(package) for package in PACKAGES]
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _taken(package: Package) -> dict[str, object]:
    """Write a package's files; its entry in the manifest."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(_fetched(package, Path(folder))) as archive:
        files = {name: _with_relative_imports(_text(archive, source)) for source, name in package.files.items()}
        licence = f"{package.name.lstrip('@').replace('/', '-')}.LICENSE"
        files[licence] = _text(archive, "LICENSE")
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())}
    return {
        "name": package.name,
        "version": package.version,
        "licence": package.licence,
        "integrity": package.integrity,
        "sha256": hashes,
    }


def _fetched(package: Package, folder: Path) -> Path:
    """The package's archive, which is the very one that its integrity was written down of."""
    command = ["npm", "pack", f"{package.name}@{package.version}", "--json", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    integrity = "sha512-" + b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if integrity != package.integrity:
        sys.exit(f"{package.name}@{package.version} is not what it was: its integrity is {integrity}")
    return archive


def _text(archive: tarfile.TarFile, name: str) -> str:
    member = archive.extractfile(f"package/{name}")
    if member is None:
        sys.exit(f"There is no {name} in the archive")
    return member.read().decode()


def _with_relative_imports(text: str) -> str:
    return _SOURCE_MAP.sub("\n", _SPECIFIER.sub(lambda found: f'{found[1]}{found[2][:-1]}"{_IMPORTS[found[3]]}"', text))


if __name__ == "__main__":
    main()
