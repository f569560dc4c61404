"""What import-linter has no contract for: a slice's tables and statements are its own."""

import pytest

grimp = pytest.importorskip("grimp", reason="comes with import-linter")

PRIVATE = ("queries", "tables")


@pytest.fixture(scope="module")
def imports() -> list[tuple[str, str]]:
    """Which module of a slice imports which; `gateway.app`, which puts the slices together, is none."""
    graph = grimp.build_graph("gateway", cache_dir=None)
    importers = [module for module in graph.modules if module.count(".") > 1 and not module.startswith("gateway.migrations")]
    return [(importer, imported) for importer in importers for imported in graph.find_modules_directly_imported_by(importer)]


def test_a_slice_uses_anothers_service_and_never_its_queries(imports: list[tuple[str, str]]) -> None:
    strangers = []
    for importer, imported in imports:
        slice_name, _, module = imported.removeprefix("gateway.").partition(".")
        is_foreign_key = module == "tables" and importer.endswith(".tables")
        if module in PRIVATE and not importer.startswith(f"gateway.{slice_name}.") and not is_foreign_key:
            strangers.append(f"{importer} imports {imported}")
    assert not strangers


def test_the_rule_looks_at_what_there_is(imports: list[tuple[str, str]]) -> None:
    assert ("gateway.responses.service", "gateway.responses.queries") in imports
