"""What each tool does to a project, and that undo takes it back."""

import os
from pathlib import Path

import pytest

from gateway.workspace.files.changes import MOST_BYTES, ChangeRefused
from gateway.workspace.tools.base import ToolFailed
from gateway.workspace.tools.patterns import PatternRefused
from tests.gateway.workspace.projects import Context, snapshot, write


@pytest.fixture
def context(tmp_path: Path) -> Context:
    root = tmp_path / "proj"
    write(root, {"a.txt": "one\n", "b.txt": "two\n", "src/main.py": "import os\nprint('hi')\n", "docs/readme.rst": "# Hello\n"})
    return Context(root)


def test_files_move_into_a_folder_that_is_made_for_them(context: Context) -> None:
    before = snapshot(context.project.root)

    result = context.use("move_files", sources=["a.txt", "src"], destination="new/place", createMissingDirectories=True)

    assert result.data == {"filesMoved": ["a.txt", "src"], "filesError": [], "destination": "new/place"}
    assert (context.project.root / "new/place/src/main.py").read_text() == "import os\nprint('hi')\n"
    assert context.undo() == ["a.txt", "new/place/a.txt", "new/place/src", "src"]
    assert snapshot(context.project.root) == before


def test_a_move_over_a_file_is_refused_and_leaves_everything(context: Context) -> None:
    write(context.project.root, {"docs/a.txt": "other\n"})
    before = snapshot(context.project.root)

    with pytest.raises(ChangeRefused, match=r"docs/a\.txt is there already"):
        context.use("move_files", sources=["b.txt", "a.txt"], destination="docs")

    assert snapshot(context.project.root) == before


def test_a_move_over_a_file_that_was_allowed_can_be_undone(context: Context) -> None:
    write(context.project.root, {"docs/a.txt": "other\n"})
    (context.project.root / "docs/a.txt").chmod(0o640)
    before = snapshot(context.project.root)

    context.use("move_files", sources=["a.txt"], destination="docs", overwrite=True)
    assert (context.project.root / "docs/a.txt").read_text() == "one\n"

    context.undo()
    assert snapshot(context.project.root) == before


def test_files_move_to_the_root(context: Context) -> None:
    context.use("move_files", sources=["docs/readme.rst"], destination=".")
    assert (context.project.root / "readme.rst").exists()


def test_files_get_other_names(context: Context) -> None:
    before = snapshot(context.project.root)

    context.use("rename_files", operations=[{"source": "a.txt", "destination": "c.txt"}, {"source": "docs", "destination": "pages"}])

    assert (context.project.root / "pages/readme.rst").exists()
    context.undo()
    assert snapshot(context.project.root) == before


@pytest.mark.parametrize(
    "operations",
    [
        [{"source": "a.txt", "destination": "b.txt"}, {"source": "b.txt", "destination": "a.txt"}],
        [{"source": "a.txt", "destination": "c.txt"}, {"source": "b.txt", "destination": "c.txt"}],
        [{"source": "src", "destination": "src/inner"}],
        [{"source": "docs", "destination": "pages"}, {"source": "docs/readme.rst", "destination": "r.md"}],
    ],
)
def test_moves_in_each_others_way_are_refused(context: Context, operations: list[dict[str, str]]) -> None:
    before = snapshot(context.project.root)
    with pytest.raises(ChangeRefused):
        context.use("rename_files", operations=operations, overwrite=True)
    assert snapshot(context.project.root) == before


def test_a_file_is_rewritten_with_its_mode(context: Context) -> None:
    (context.project.root / "a.txt").chmod(0o750)

    result = context.use("rewrite_file", filePath="a.txt", content="new\n")

    assert result.data == {"filePath": "a.txt", "bytes": 4, "created": False}
    assert (context.project.root / "a.txt").stat().st_mode & 0o777 == 0o750
    context.undo()
    assert (context.project.root / "a.txt").read_text() == "one\n"


def test_a_file_that_was_made_is_gone_after_undo_with_its_folders(context: Context) -> None:
    before = snapshot(context.project.root)

    assert context.use("rewrite_file", filePath="x/y/z.txt", content="new").data["created"] is True

    context.undo()
    assert snapshot(context.project.root) == before
    with pytest.raises(ToolFailed, match="is not there"):
        context.use("rewrite_file", filePath="q.txt", content="new", createIfMissing=False)


def test_text_is_replaced_in_every_way(context: Context) -> None:
    write(context.project.root, {"t.txt": "Cat cat CAT\n"})

    def replaced(**operation: object) -> str:
        context.use("search_and_replace", filePath="t.txt", operations=[operation])
        text = (context.project.root / "t.txt").read_text()
        context.undo()
        return text

    assert replaced(search="cat", replace="dog") == "Cat dog CAT\n"
    assert replaced(search="cat", replace="dog", caseSensitive=False) == "dog cat CAT\n"
    assert replaced(search="cat", replace=r"\1", caseSensitive=False, replaceAll=True) == "\\1 \\1 \\1\n"
    assert replaced(search=r"(c)(at)", replace=r"\2\1", regexPattern=True) == "Cat atc CAT\n"


def test_what_is_not_there_is_not_replaced_and_nothing_else_is(context: Context) -> None:
    with pytest.raises(ToolFailed, match="nothing was changed"):
        context.use(
            "search_and_replace", filePath="a.txt", operations=[{"search": "one", "replace": "1"}, {"search": "no", "replace": "x"}]
        )
    assert (context.project.root / "a.txt").read_text() == "one\n"
    with pytest.raises(PatternRefused):
        context.use("search_and_replace", filePath="a.txt", operations=[{"search": "(", "replace": "", "regexPattern": True}])


def test_a_patch_changes_and_makes_files(context: Context) -> None:
    before = snapshot(context.project.root)
    patch = (
        "--- a/src/main.py\n+++ b/src/main.py\n@@ -1,2 +1,3 @@\n import os\n+import sys\n print('hi')\n"
        "--- /dev/null\n+++ b/new/file.txt\n@@ -0,0 +1,2 @@\n+first\n+second\n"
    )

    result = context.use("apply_patch", patch=patch)

    assert result.data == {"modifiedFiles": ["src/main.py"], "newFiles": ["new/file.txt"]}
    assert (context.project.root / "src/main.py").read_text() == "import os\nimport sys\nprint('hi')\n"
    assert (context.project.root / "new/file.txt").read_text() == "first\nsecond\n"
    context.undo()
    assert snapshot(context.project.root) == before


def test_a_patch_finds_its_place_and_keeps_line_breaks(context: Context) -> None:
    (context.project.root / "w.txt").write_bytes(b"0\r\n" * 5 + b"a\r\nb\r\nend")

    context.use("apply_patch", filePath="w.txt", patch="--- w\n+++ w\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n")

    assert (context.project.root / "w.txt").read_bytes() == b"0\r\n" * 5 + b"a\r\nc\r\nend"


@pytest.mark.parametrize(
    "patch",
    [
        "nothing at all",
        "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-other\n+new\n",
        "--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n",
        "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+one\n",
        "--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+one\n",
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,9 +1 @@\n",
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(context: Context, patch: str) -> None:
    before = snapshot(context.project.root.parent)
    with pytest.raises(Exception, match=r".+"):
        context.use("apply_patch", patch=patch)
    assert snapshot(context.project.root.parent) == before


def test_files_are_asked_for_and_forgotten(context: Context) -> None:
    result = context.use("request_files", fileNames=["a.txt", "nope.txt", "../out"])

    assert result.data["filesAdded"] == ["a.txt"]
    assert [each["fileName"] for each in result.data["filesError"]] == ["nope.txt", "../out"]
    assert context.use("forget_files", fileNames=["a.txt", "b.txt"]).data == {"filesRemoved": ["a.txt"]}
    with pytest.raises(ToolFailed, match="no such file"):
        context.use("request_files", fileNames=["src"])


def test_a_project_is_searched(context: Context) -> None:
    root = context.project.root
    write(root, {".git/config": "hi", "node_modules/x.js": "print('hi')", "big.bin": "x" * 2_000})
    os.utime(root / "a.txt", (0, 86_400))

    def found(**given: object) -> list[str]:
        return [each["path"] for each in context.use("search_project", **given).data["files"]]

    assert found(contentPattern="PRINT") == ["src/main.py"]
    assert found(contentPattern="PRINT", caseSensitive=True) == []
    assert found(filePattern="*.txt") == ["a.txt", "b.txt"]
    assert found(filePattern="src/**|*.rst") == ["docs/readme.rst", "src/main.py"]
    assert found(filePattern="*.txt", dateBefore="1970-01-02") == ["a.txt"]
    assert found(filePattern="*.txt", dateAfter="1970-01-03") == ["b.txt"]
    assert found(sizeMin=1_000) == ["big.bin"]
    assert context.use("search_project", contentPattern="^print").data["files"] == [{"path": "src/main.py", "matches": ["2: print('hi')"]}]


def test_what_was_changed_since_is_not_undone(context: Context) -> None:
    context.use("rewrite_file", filePath="a.txt", content="new\n")
    (context.project.root / "a.txt").write_text("mine\n")

    assert context.undo_is_refused() == ["a.txt"]
    assert (context.project.root / "a.txt").read_text() == "mine\n"


def test_a_moved_file_that_was_changed_since_is_not_moved_back(context: Context) -> None:
    context.use("move_files", sources=["a.txt", "b.txt"], destination="docs")
    (context.project.root / "docs/b.txt").write_text("mine, and longer\n")

    assert context.undo_is_refused() == ["docs/b.txt"]
    assert (context.project.root / "docs/a.txt").exists()


def test_nothing_is_undone_where_something_new_is_in_the_way(context: Context) -> None:
    context.use("move_files", sources=["a.txt"], destination="docs")
    (context.project.root / "a.txt").write_text("mine\n")

    assert context.undo_is_refused() == ["a.txt"]
    assert (context.project.root / "a.txt").read_text() == "mine\n"


def test_a_change_of_which_half_was_made_is_undone(context: Context) -> None:
    before = snapshot(context.project.root)
    context.use("move_files", sources=["a.txt", "b.txt"], destination="docs")
    (context.project.root / "docs/b.txt").rename(context.project.root / "b.txt")  # as if the second step had not come

    context.undo()
    assert snapshot(context.project.root) == before


def test_changes_are_undone_one_after_the_other(context: Context) -> None:
    before = snapshot(context.project.root)
    context.use("rewrite_file", filePath="a.txt", content="2\n")
    context.use("move_files", sources=["a.txt"], destination="docs")
    context.use("search_and_replace", filePath="docs/a.txt", operations=[{"search": "2", "replace": "3"}])

    for _ in range(3):
        context.undo()
    assert snapshot(context.project.root) == before


def test_a_large_file_moves_but_is_not_replaced(context: Context) -> None:
    with (context.project.root / "large.bin").open("wb") as file:
        file.truncate(2 * 2**30)

    context.use("move_files", sources=["large.bin"], destination="docs")
    with pytest.raises(ChangeRefused, match="too large to be replaced"):
        context.use("rewrite_file", filePath="docs/large.bin", content="small")
    with pytest.raises(ChangeRefused, match="bytes are more than"):
        context.use("rewrite_file", filePath="c.txt", content="x" * (MOST_BYTES + 1))

    context.undo()
    assert (context.project.root / "large.bin").stat().st_size == 2 * 2**30
