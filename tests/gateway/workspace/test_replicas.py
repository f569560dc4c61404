"""Several replicas of the ML service, of which one goes away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_chat import ScriptedChat, answer, scripted_chat
from tests.fixtures.waiting import eventually
from tests.gateway.workspace.conftest import Workspace
from tests.gateway.workspace.projects import write

ACCOUNTS = 12


@pytest.fixture
def replicas() -> Iterator[list[ScriptedChat]]:
    with scripted_chat() as first, scripted_chat() as second:
        yield [first, second]


@pytest.fixture
def gateway_of_both(
    run_folder: Path, database_url: str, redis_url: str, replicas: list[ScriptedChat], roots: Path
) -> Iterator[GatewayProcess]:
    urls = ",".join(replica.url for replica in replicas)
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=urls, workspace_roots=str(roots))
    process.start()
    yield process
    process.stop()


def test_accounts_are_spread_and_move_when_theirs_goes_away(
    gateway_of_both: GatewayProcess, replicas: list[ScriptedChat], roots: Path
) -> None:
    workspaces = []
    for number in range(ACCOUNTS):
        root = roots / f"replicas-{number}"
        write(root, {"a.txt": "one", ".git/config": "git"})
        workspaces.append(Workspace(gateway_of_both, replicas[0], root))
    for workspace in workspaces:
        assert workspace.say("Hello").json()["response"] == "Done"
    first = [len(replica.asked) for replica in replicas]
    assert min(first) > 0
    for workspace in workspaces:
        assert workspace.say("Again").json()["response"] == "Done"
    assert [len(replica.asked) for replica in replicas] == [2 * count for count in first], "an account stays where its prompts are warm"

    replicas[0].stop()
    for workspace in workspaces:
        assert workspace.say("And now?").json()["response"] == "Done"

    assert len(replicas[1].asked) == 2 * first[1] + ACCOUNTS


def test_what_breaks_in_the_middle_says_so_and_can_be_said_again(
    gateway_of_both: GatewayProcess, replicas: list[ScriptedChat], roots: Path
) -> None:
    root = roots / "breaks"
    write(root, {"a.txt": "one", ".git/config": "git"})
    workspace = Workspace(gateway_of_both, replicas[0], root)
    assert workspace.say("Hello").status_code == 200
    eventually(lambda: workspace.ask("GET").json()["title"] == "A title")  # nothing is asked any more
    workspace.chat = next(replica for replica in replicas if replica.asked)
    workspace.chat.breaks = True

    broken = workspace.say("Go on", answer("Much that is never said to its end"))
    again = workspace.say("Go on")

    assert broken.status_code == 503
    assert "away" in broken.json()["details"]
    assert again.json()["response"] == "Done"
