"""Schemathesis on the workspace's addresses, where a project is open: nearly all else would be answered 403."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from tests.gateway.http.openapi import EXAMPLES, document
from tests.gateway.workspace.conftest import Workspace

schema = from_dict(document()).include(path_regex="^/api/v1/conversation")

# Rules that JSON Schema has no words for: files that exist, allowed commands, pages of the public web, dates. What is missing is said in
# this API's own words, so the document has it as optional.
BEYOND_JSON_SCHEMA = ("/files", "/run", "/external")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_does_what_its_page_says_about_a_project(case: schemathesis.Case[Any], workspace: Workspace) -> None:
    case.headers["Authorization"] = f"Bearer {workspace.owner.token}"
    if "startDir" in (case.query or {}):
        case.query["startDir"] = str(workspace.root)
    if isinstance(case.body, dict) and "startDir" in case.body:
        case.body["startDir"] = str(workspace.root)
    answer = case.call(base_url=workspace.gateway.url)

    refused_by_rule = answer.status_code == 400 and (
        case.operation.path.endswith(BEYOND_JSON_SCHEMA) or answer.json()["error"].startswith(("Missing ", "startDate: ", "endDate: "))
    )
    excluded = [allow_header_conformance]  # Litestar answers OPTIONS with the methods of the first handler of an address
    case.validate_response(answer, excluded_checks=[*excluded, positive_data_acceptance] if refused_by_rule else excluded)
