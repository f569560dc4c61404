"""Nothing outside of a project is read or changed, whatever a path says and whatever leads there."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.workspace.files.changes import ChangeRefused
from gateway.workspace.files.project import PathRefused, open_project
from gateway.workspace.tools.base import ToolFailed
from gateway.workspace.tools.patterns import PatternRefused
from shared.errors import BadRequest, Forbidden
from tests.gateway.workspace.projects import Context, snapshot, write

REFUSALS = (PathRefused, ChangeRefused, ToolFailed, PatternRefused, OSError)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A project `proj` beside `proj-evil` and a secret, with links that lead out of it and one that stays in it."""
    write(tmp_path, {"secret.txt": "secret", "proj-evil/x.txt": "evil", "outside/y.txt": "out"})
    root = tmp_path / "proj"
    write(root, {"a.txt": "one", "src/main.py": "code", ".git/config": "git", ".bbai/state": "bbai"})
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "in").symlink_to(root / "src")
    (root / "circle").symlink_to(root / "circle")
    return Context(root)


BAD_PATHS = [
    "../secret.txt",
    "src/../../secret.txt",
    "src/../a.txt",
    "/etc/passwd",
    "/",
    "",
    ".",
    "./",
    "a\0.txt",
    "\ud800",
    "out/y.txt",
    "out/new.txt",
    "link.txt",
    "circle/x",
    ".git/config",
    ".git",
    ".GIT/config",
    ".g\u200cit/config",
    "\uff0egit/config",
    ".git./config",
    "src/.git/hooks",
    ".bbai/state",
    "in/../../secret.txt",
    "x" * 2_000,
    "../proj-evil/x.txt",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_tool_reads_or_changes_what_lies_outside(context: Context, path: str) -> None:
    top = context.project.root.parent
    before = snapshot(top)
    attempts: dict[str, dict[str, Any]] = {
        "move_files": {"sources": [path], "destination": "src", "overwrite": True},
        "rename_files": {"operations": [{"source": path, "destination": "b.txt"}]},
        "rewrite_file": {"filePath": path, "content": "mine"},
        "search_and_replace": {"filePath": path, "operations": [{"search": "e", "replace": "x"}], "createIfMissing": True},
        "apply_patch": {"filePath": path, "patch": "--- a\n+++ b\n@@ -1 +1 @@\n-secret\n+mine\n"},
        "request_files": {"fileNames": [path]},
    }
    for name, given_ in attempts.items():
        with pytest.raises(REFUSALS):
            context.use(name, **given_)
    if path not in (".", "./", "in/../../secret.txt"):
        with pytest.raises(REFUSALS):
            context.use(
                "rename_files", operations=[{"source": "a.txt", "destination": path}], overwrite=True, createMissingDirectories=True
            )
    assert snapshot(top) == before


def test_prefix_twins_are_outside(context: Context) -> None:
    with pytest.raises(PathRefused, match="outside"):
        context.project.place(str(context.project.root) + "-evil/x.txt")


def test_a_link_that_stays_inside_is_followed(context: Context) -> None:
    assert str(context.project.place("in/main.py")) == "src/main.py"
    assert str(context.project.place(str(context.project.root / "a.txt"))) == "a.txt"


def test_a_search_follows_no_links_and_tells_nothing_of_git(context: Context) -> None:
    found = context.use("search_project", contentPattern="secret|out|git|bbai|one").data["files"]
    assert [each["path"] for each in found] == ["a.txt"]


def test_a_name_that_is_no_text_is_passed_over(context: Context) -> None:
    (context.project.root / os.fsdecode(b"bad-\xff.txt")).write_text("one")
    assert [each["path"] for each in context.use("search_project", filePattern="*.txt").data["files"]] == ["a.txt"]


def test_a_link_that_takes_a_folders_place_after_the_check_leads_nowhere(context: Context) -> None:
    """Somebody exchanges a folder and a link as fast as they can, while files are written into it."""
    root, top = context.project.root, context.project.root.parent
    (root / "d").mkdir()
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            try:
                (root / "d").rename(root / "kept")
                (root / "d").symlink_to(top / "outside")
                (root / "d").unlink()
                (root / "kept").rename(root / "d")
            except OSError:
                continue

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for number in range(300):
            try:
                context.use("rewrite_file", filePath=f"d/{number}.txt", content="mine")
            except REFUSALS:
                continue
    finally:
        stop.set()
        thread.join()
    assert [path.name for path in (top / "outside").iterdir()] == ["y.txt"]


def test_a_folder_that_is_not_open_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"work/app/x.txt": "", "work/app/.git/config": "", "work/app/deep/er/y.txt": "", "other/z.txt": ""})
    roots = [tmp_path / "work"]
    (tmp_path / "work/out").symlink_to(tmp_path / "other")

    assert open_project(str(tmp_path / "work/app/deep/er"), roots).root == (tmp_path / "work/app").resolve()
    assert open_project(str(tmp_path / "work"), roots).root == (tmp_path / "work").resolve()
    for start, error in [
        (tmp_path / "other", Forbidden),
        (tmp_path / "work/out", Forbidden),
        (tmp_path / "work/../other", Forbidden),
        (tmp_path / "workshop", Forbidden),
        (tmp_path / "work/none", BadRequest),
        (tmp_path / "work/app/x.txt", BadRequest),
    ]:
        with pytest.raises(error):
            open_project(str(start), roots)
    with pytest.raises(BadRequest, match="absolute"):
        open_project("work", roots)


def test_a_project_is_never_above_its_workspace_root(tmp_path: Path) -> None:
    write(tmp_path, {".git/config": "", "work/app/x.txt": ""})
    assert open_project(str(tmp_path / "work/app"), [tmp_path / "work"]).root == (tmp_path / "work/app").resolve()


# For a long hunt set FUZZ_EXAMPLES to some thousands.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
NAMES = st.sampled_from(["a", "b", "c.txt", "d", "e.py", ".git", "..", "out", "in", "-x", "ä"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CALLS: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(
        st.just("move_files"),
        st.fixed_dictionaries(
            {
                "sources": st.lists(PATHS, min_size=1, max_size=3),
                "destination": PATHS,
                "overwrite": st.booleans(),
                "createMissingDirectories": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("rename_files"),
        st.fixed_dictionaries(
            {
                "operations": st.lists(st.fixed_dictionaries({"source": PATHS, "destination": PATHS}), min_size=1, max_size=3),
                "overwrite": st.booleans(),
                "createMissingDirectories": st.booleans(),
            }
        ),
    ),
    st.tuples(st.just("rewrite_file"), st.fixed_dictionaries({"filePath": PATHS, "content": st.text(max_size=20)})),
    st.tuples(
        st.just("search_and_replace"),
        st.fixed_dictionaries(
            {
                "filePath": PATHS,
                "operations": st.just([{"search": "e", "replace": "E", "replaceAll": True}]),
                "createIfMissing": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("apply_patch"),
        st.fixed_dictionaries({"filePath": PATHS, "patch": st.just("--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+new\n")}),
    ),
)
TREES = st.dictionaries(PATHS.filter(lambda path: ".." not in path and ".git" not in path), st.text("aeo\n", max_size=10), max_size=6)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=TREES, calls=st.lists(CALLS, min_size=1, max_size=6))
def test_whatever_is_called_nothing_outside_changes_and_undo_restores_everything(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, str], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    top = tmp_path_factory.mktemp("fuzz")
    root = top / "proj"
    root.mkdir()
    write(top, {"outside/a": "out", "secret": "secret"})
    for path, text in tree.items():
        try:
            write(root, {path: text})
            (root / path).chmod(0o640)
        except OSError:  # a file is where a folder should be
            continue
    for name, target in (("out", top / "outside"), ("in", root / "a")):
        if not os.path.lexists(root / name):
            (root / name).symlink_to(target)
    before = snapshot(top)
    context = Context(root)

    for name, given_ in calls:
        try:
            context.use(name, **given_)
        except REFUSALS:
            continue
    assert {path: each for path, each in snapshot(top).items() if not path.startswith("proj")} == {
        path: each for path, each in before.items() if not path.startswith("proj")
    }
    while context.changes:
        context.undo()
    assert snapshot(top) == before
