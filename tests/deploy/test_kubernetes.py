"""The manifests of deploy/kubernetes against the code that they run: settings, ports, probes, graces, and who may talk to whom.

The base's files are read as they are, which needs nothing. What kustomize makes of them and of the overlays is looked at where kubectl is
installed, and against Kubernetes' own schemas where kubernetes-validate is.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import yaml

from deploy.local.servers import _BINARIES, EmbeddedPostgres, EmbeddedValkey
from gateway.server import GRACE_SECONDS
from gateway.settings import Settings as GatewaySettings
from ml_service.jobs import engine_sleep, training_worker, worker
from ml_service.jobs.__main__ import WORKERS
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.worker import worker_redis
from ml_service.settings import Settings as MlServiceSettings
from shared.contracts.generation import Turn
from shared.contracts.jobs import AsyncGenerateRequest
from shared.host_guard import AllowedHosts
from shared.settings import describe, load
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.servers import POSTGRES_IMAGE, VALKEY_IMAGE
from tests.fixtures.waiting import eventually

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "deploy" / "kubernetes"
COMPONENT = "app.kubernetes.io/component"
OURS = "conversation-assistant/"
FOREIGN_KINDS = {"ScaledObject", "TriggerAuthentication", "RayCluster"}
"""Kinds that an operator brings; Kubernetes has no schema of them."""
OF_LIBRARIES = {"HOME", "HF_HOME", "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "RAY_ADDRESS", "VLLM_HOST_IP"}
"""Variables that are no settings of ours: what reads them is Python, the hub's client, the bucket's, Ray and vLLM."""
NOT_YET_SETTINGS = {"DISTRIBUTED_EXECUTOR_BACKEND"}
"""What overlays/multi-node needs of the ML service and README.md says is missing."""
OLDEST_KUBERNETES = "1.30"  # the first whose containers can sleep before they are stopped, without a program for it
LONGEST_DNS_SECONDS = 30  # kubeadm's CoreDNS lets names be remembered for so long

Document = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """What is applied: an overlay with components, or the base's files as they are."""

    name: str
    components: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join([self.name.removeprefix("overlays/"), *self.components])


FILES = Variant("files")
CPU, GPU, MULTI_NODE = (Variant(f"overlays/{name}") for name in ("cpu", "gpu", "multi-node"))
WITHOUT_SERVERS = Variant("overlays/cpu", ("servers-elsewhere", "bucket"))
SCALED = Variant("overlays/gpu", ("keda", "bucket", "replicas"))
VARIANTS = [FILES, Variant("base"), CPU, GPU, MULTI_NODE, WITHOUT_SERVERS, SCALED]


@dataclass(frozen=True)
class Pod:
    """A pod's template, and whose it is."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def component(self) -> str:
        return self.labels[COMPONENT]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for each in self.containers for port in each.get("ports", [])}


class Manifests:
    """The documents of a variant, and the pods that they make."""

    def __init__(self, variant: Variant, documents: list[Document]) -> None:
        self.variant = variant
        self.documents = documents
        self.pods = [pod for document in documents for pod in pods_in(document)]

    def of(self, kind: str) -> dict[str, Document]:
        return {document["metadata"]["name"]: document for document in self.documents if document["kind"] == kind}

    def pod(self, component: str) -> Pod:
        (found,) = [pod for pod in self.pods if pod.component == component]
        return found

    def environment(self, container: dict[str, Any], secrets: dict[str, str]) -> dict[str, str]:
        """The variables of a container, as the kubelet would set them."""
        maps = self.of("ConfigMap")
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            environment |= maps[source["configMapRef"]["name"]]["data"]
        for variable in container.get("env", []):
            origin = variable.get("valueFrom", {})
            if "secretKeyRef" in origin:
                reference = origin["secretKeyRef"]
                assert reference["name"] == "assistant-secrets"
                if reference["key"] in secrets or not reference.get("optional"):
                    environment[variable["name"]] = secrets[reference["key"]]
            else:
                environment[variable["name"]] = variable.get("value", "set by the kubelet")
        return environment


def pods_in(document: Document) -> Iterator[Pod]:
    """Every template of pods, whatever kind it is in."""
    yield from _templates(document, document.get("metadata", {}).get("name", ""))


def _templates(node: Any, owner: str) -> Iterator[Pod]:
    if isinstance(node, dict):
        spec = node.get("spec")
        if isinstance(spec, dict) and "containers" in spec:
            yield Pod(owner, node.get("metadata", {}).get("labels", {}), spec)
        for value in node.values():
            yield from _templates(value, owner)
    elif isinstance(node, list):
        for value in node:
            yield from _templates(value, owner)


def documents_in(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def base_files() -> list[Document]:
    """The documents of base/ without kustomize; its generated ConfigMaps under their names."""
    kustomization = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())
    documents = [document for name in kustomization["resources"] for document in documents_in((FOLDER / "base" / name).read_text())]
    for generated in kustomization["configMapGenerator"]:
        data = {name: (FOLDER / "base" / name).read_text() for name in generated.get("files", [])}
        for name in generated.get("envs", []):
            data |= dictionary((FOLDER / "base" / name).read_text())
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data})
    return documents


def dictionary(text: str) -> dict[str, str]:
    """The lines of a file of variables."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture(scope="module")
def kubectl() -> str:
    found = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip("kubectl is not installed")
    return found


def only(*variants: Variant) -> pytest.MarkDecorator:
    """For a test of what only these variants have."""
    return pytest.mark.parametrize("manifests", variants, ids=str, indirect=True)


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    variant: Variant = request.param
    if variant is FILES:
        return Manifests(variant, base_files())
    folder = FOLDER / variant.name
    if variant.components:  # an overlay on top, as README.md says
        copy = tmp_path_factory.mktemp("kubernetes") / "copy"
        shutil.copytree(FOLDER, copy)
        folder = copy / "overlays" / "own"
        folder.mkdir()
        components = [f"../../components/{name}" for name in variant.components]
        written = {"resources": [str(Path("..", Path(variant.name).name))], "components": components}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(written))
    kubectl: str = request.getfixturevalue("kubectl")
    built = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, "kustomize warns of what it will not understand for ever"
    return Manifests(variant, documents_in(built.stdout))


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What make-secrets.sh prints."""
    return dictionary(subprocess.run([FOLDER / "make-secrets.sh"], capture_output=True, text=True, check=True).stdout)


def seconds_before_stop(pod: Pod) -> int:
    return int(pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])


def settings_of(manifests: Manifests, component: str, secrets: dict[str, str]) -> Any:
    """The settings with which a component starts; refused ones fail here as they would there."""
    container = manifests.pod(component).spec["containers"][0]
    kind: Any = GatewaySettings if container["image"].startswith(f"{OURS}gateway") else MlServiceSettings
    return load(kind, manifests.environment(container, secrets))


def test_kubernetes_knows_every_field(manifests: Manifests) -> None:
    validating = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in manifests.documents:
        for version in (OLDEST_KUBERNETES, validating.latest_version()):
            try:
                validating.validate(document, version, strict=True)
            except validating.SchemaNotFoundError:
                assert document["kind"] in FOREIGN_KINDS
            except validating.ValidationError as error:
                pytest.fail(f"{document['kind']} {document['metadata']['name']}, Kubernetes {version}: {list(error.path)}: {error.message}")


@only(*VARIANTS[1:])
def test_everything_is_in_one_namespace(manifests: Manifests) -> None:
    spaces = {document["metadata"].get("namespace") for document in manifests.documents if document["kind"] != "Namespace"}

    assert spaces == set(manifests.of("Namespace")) == {"conversation-assistant"}


def test_variables_are_settings(manifests: Manifests, secrets: dict[str, str]) -> None:
    known = {
        kind: {setting.variable for setting in describe(settings)} | OF_LIBRARIES
        for kind, settings in (("gateway", GatewaySettings), ("ml", MlServiceSettings), ("worker", MlServiceSettings))
    }
    for pod in manifests.pods:
        for container in pod.containers:
            if container["image"].startswith(OURS):
                image = container["image"].removeprefix(OURS).partition(":")[0]
                assert set(manifests.environment(container, secrets)) - known[image] - NOT_YET_SETTINGS == set(), pod.owner


def test_services_start_with_these_settings(manifests: Manifests, secrets: dict[str, str]) -> None:
    gateway, ml = (settings_of(manifests, component, secrets) for component in ("gateway", "ml"))

    assert (gateway.host, gateway.port) == ("0.0.0.0", manifests.pod("gateway").ports["http"])
    assert (ml.host, ml.port) == ("0.0.0.0", manifests.pod("ml").ports["http"])
    assert gateway.ml_service_token == ml.ml_service_token
    for component in ("generation-worker", "training-worker"):
        assert settings_of(manifests, component, secrets) == ml


def test_ml_service_is_called_by_names_that_it_answers_to(manifests: Manifests, secrets: dict[str, str]) -> None:
    gateway, ml = (settings_of(manifests, component, secrets) for component in ("gateway", "ml"))
    services = manifests.of("Service")

    for url in (*gateway.ml_service_url, *ml.ml_service_url):
        parts = urlsplit(url)
        name = parts.hostname or ""
        service = services[name.rpartition(".")[2]]
        assert service["spec"]["selector"] == {COMPONENT: "ml"}
        assert [port["port"] for port in service["spec"]["ports"]] == [parts.port]
        # as the service itself does: the names in its own ML_SERVICE_URL are allowed, too
        called = [urlsplit(own).hostname or "" for own in ml.ml_service_url]
        assert name in AllowedHosts(ml.host, [*ml.allowed_hosts, *called])
    assert services["ml-replicas"]["spec"]["clusterIP"] == "None", "the gateway finds replicas by DNS"


def test_gateway_answers_to_the_name_of_the_ingress(manifests: Manifests, secrets: dict[str, str]) -> None:
    gateway = settings_of(manifests, "gateway", secrets)
    ingress = manifests.of("Ingress")["gateway"]["spec"]
    (rule,) = ingress["rules"]

    assert rule["host"] in AllowedHosts(gateway.host, gateway.allowed_hosts)
    assert [rule["host"]] == ingress["tls"][0]["hosts"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == "gateway"
    assert gateway.registration == "closed"


def test_services_and_budgets_have_pods(manifests: Manifests) -> None:
    components = {pod.component: pod for pod in manifests.pods}
    for service in manifests.of("Service").values():
        pod = components[service["spec"]["selector"][COMPONENT]]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(pod.ports)
    for budget in manifests.of("PodDisruptionBudget").values():
        assert budget["spec"]["selector"]["matchLabels"][COMPONENT] in components
        assert budget["spec"]["maxUnavailable"] == 1, "a budget that lets none go would hold up the drain of a node for ever"


def test_what_pods_name_is_there(manifests: Manifests) -> None:
    documented = dictionary((FOLDER / "secrets.example.env").read_text())
    claims, maps, accounts = (manifests.of(kind) for kind in ("PersistentVolumeClaim", "ConfigMap", "ServiceAccount"))
    for pod in manifests.pods:
        mounted = {mount["name"] for container in pod.containers for mount in container["volumeMounts"]}
        own = {volume["name"] for volume in pod.spec["volumes"]}
        assert mounted == own | ({"data"} if pod.component in ("postgres", "valkey") else set()), pod.owner
        for volume in pod.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            elif "configMap" in volume:
                assert volume["configMap"]["name"] in maps
            else:
                assert "emptyDir" in volume
                assert "sizeLimit" in volume["emptyDir"], "what fills a node's disk takes others with it"
        assert pod.spec["serviceAccountName"] in accounts
        for container in pod.containers:
            references = [variable["valueFrom"]["secretKeyRef"] for variable in container.get("env", []) if _is_secret(variable)]
            assert {reference["key"] for reference in references} <= set(documented)


def _is_secret(variable: dict[str, Any]) -> bool:
    return "secretKeyRef" in variable.get("valueFrom", {})


def test_pods_may_do_nothing_that_they_need_not(manifests: Manifests) -> None:
    """The restricted profile of Kubernetes' pod security standards, and a root file system that is not written."""
    assert manifests.of("Namespace")["conversation-assistant"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for account in manifests.of("ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False
    for pod in manifests.pods:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        for container in pod.containers:
            ours = container["image"].startswith(OURS)
            assert context["runAsUser"] == context["fsGroup"] == (10001 if ours else 999), pod.owner
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert "cpu" not in container["resources"]["limits"], "the kernel would stop it in the middle of an answer"


def test_adapters_are_shared_and_data_can_be_written(manifests: Manifests, secrets: dict[str, str]) -> None:
    for component in ("ml", "training-worker"):
        settings = settings_of(manifests, component, secrets)
        mounted = {mount["mountPath"] for mount in manifests.pod(component).spec["containers"][0]["volumeMounts"]}
        assert settings.data_dir in mounted
        assert settings.adapter_store in mounted or settings.adapter_store.startswith("s3://")
    if "bucket" not in manifests.variant.components:
        assert manifests.of("PersistentVolumeClaim")["adapters"]["spec"]["accessModes"] == ["ReadWriteMany"]
    else:
        assert "adapters" not in manifests.of("PersistentVolumeClaim")


def test_stopped_services_finish_the_longest_draft(manifests: Manifests, secrets: dict[str, str]) -> None:
    gateway, ml = (settings_of(manifests, component, secrets) for component in ("gateway", "ml"))
    pod = manifests.pod("gateway")
    assert seconds_before_stop(pod) >= gateway.ml_timeout_seconds + 5
    assert pod.spec["terminationGracePeriodSeconds"] >= seconds_before_stop(pod) + GRACE_SECONDS + 20
    pod = manifests.pod("ml")
    assert ml.shutdown_grace_seconds >= gateway.ml_timeout_seconds
    assert seconds_before_stop(pod) >= LONGEST_DNS_SECONDS
    assert pod.spec["terminationGracePeriodSeconds"] >= seconds_before_stop(pod) + ml.shutdown_grace_seconds + 20


def test_stopped_workers_hand_back_their_jobs(manifests: Manifests) -> None:
    generation = manifests.pod("generation-worker").spec["terminationGracePeriodSeconds"]
    training = manifests.pod("training-worker").spec["terminationGracePeriodSeconds"]

    assert generation >= worker.HAND_BACK_SECONDS + 2 * worker.REDIS_TIMEOUT_SECONDS
    longest = training_worker.STOP_SECONDS + training_worker.PUBLISH_SECONDS + engine_sleep.CALL_SECONDS + worker.HAND_BACK_SECONDS
    assert training >= longest + 2 * training_worker.REDIS_SECONDS


def test_models_have_time_to_start(manifests: Manifests, secrets: dict[str, str]) -> None:
    probe = manifests.pod("ml").spec["containers"][0]["startupProbe"]
    longest = settings_of(manifests, "ml", secrets).engine_start_timeout_seconds

    assert probe["periodSeconds"] * probe["failureThreshold"] > longest
    if "ml" in manifests.of("Deployment"):
        assert manifests.of("Deployment")["ml"]["spec"]["progressDeadlineSeconds"] > longest


def test_rollouts_keep_gateways(manifests: Manifests) -> None:
    gateway = manifests.of("Deployment")["gateway"]["spec"]
    scaling = manifests.of("HorizontalPodAutoscaler")["gateway"]["spec"]

    assert gateway["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in gateway, "an apply would take back what the autoscaler has decided"
    assert scaling["minReplicas"] == 2
    assert [container["command"][-1] for container in manifests.pod("gateway").containers] == ["migrate", "serve"]


@only(FILES, CPU)
def test_database_has_connections_for_two_sets_of_gateways(manifests: Manifests, secrets: dict[str, str]) -> None:
    (allowed,) = re.findall(r"max_connections=(\d+)", " ".join(manifests.pod("postgres").spec["containers"][0]["args"]))
    each = settings_of(manifests, "gateway", secrets).database_pool_size + 4

    assert 2 * manifests.of("HorizontalPodAutoscaler")["gateway"]["spec"]["maxReplicas"] * each < int(allowed)


@only(FILES, CPU, GPU, MULTI_NODE)
def test_servers_keep_what_the_embedded_ones_keep(manifests: Manifests, tmp_path: Path) -> None:
    ours = {name: manifests.pod(name).spec["containers"][0] for name in ("postgres", "valkey")}
    settings = [word for word in EmbeddedPostgres(tmp_path, tmp_path)._command if "=" in word and "listen_addresses" not in word]
    persistence = EmbeddedValkey(tmp_path, tmp_path)._command[-4:]

    assert set(settings) <= set(ours["postgres"]["args"])
    assert persistence == ["--appendonly", "yes", "--save", ""]
    assert ours["valkey"]["args"][1:5] == persistence
    assert {"VALKEY_PASSWORD", "REDISCLI_AUTH"} == {variable["name"] for variable in ours["valkey"]["env"]}
    for name, image in (("postgres", POSTGRES_IMAGE), ("valkey", VALKEY_IMAGE)):
        assert ours[name]["image"] in (image, image.partition(":")[0])


@dataclass(frozen=True)
class Rules:
    """What the network policies of a variant let through."""

    policies: list[Document]

    def between(self, source: Pod, target: Pod, port: int) -> bool:
        outgoing, incoming = self._rules(source, "Egress"), self._rules(target, "Ingress")
        return any(_lets(rule, "to", target, port) for rule in outgoing) and any(_lets(rule, "from", source, port) for rule in incoming)

    def outside(self, pod: Pod) -> set[int]:
        """Ports at which a pod may reach anything in the world."""
        rules = [rule for rule in self._rules(pod, "Egress") if any(_is_world(peer) for peer in rule.get("to", [{}]))]
        return {port["port"] for rule in rules for port in rule["ports"]}

    def namespaces(self, pod: Pod, direction: str) -> set[tuple[str, int]]:
        """What a pod may be reached from, or reach, in other namespaces, by the label that names them."""
        side = {"Ingress": "from", "Egress": "to"}[direction]
        return {
            (value, port["port"])
            for rule in self._rules(pod, direction)
            for peer in rule[side]
            for value in peer.get("namespaceSelector", {}).get("matchLabels", {}).values()
            for port in rule.get("ports", [])
        }

    def _rules(self, pod: Pod, direction: str) -> list[dict[str, Any]]:
        chosen = [policy["spec"] for policy in self.policies if _selects(policy["spec"]["podSelector"], pod.labels)]
        assert any(direction in spec["policyTypes"] for spec in chosen), "a pod that no policy names may do anything"
        return [rule for spec in chosen if direction in spec["policyTypes"] for rule in spec.get(direction.lower(), [])]


def _lets(rule: dict[str, Any], side: str, peer: Pod, port: int) -> bool:
    ports = [each["port"] for each in rule.get("ports", [])]
    chosen = any(
        "podSelector" in each and "namespaceSelector" not in each and _selects(each["podSelector"], peer.labels) for each in rule[side]
    )
    return chosen and (not ports or port in ports)


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    listed = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in listed)
    exact = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in exact.items()) and all(
        labels.get(each["key"]) in each["values"] for each in listed
    )


def _is_world(peer: dict[str, Any]) -> bool:
    if "ipBlock" not in peer:
        return not peer
    network = ip_network(peer["ipBlock"]["cidr"])
    if network.prefixlen:
        return False
    kept = [ip_network(each) for each in peer["ipBlock"]["except"]]
    inside = ["10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"] if network.version == 4 else ["fd00::1", "fe80::1"]
    assert all(any(ip_network(address).subnet_of(each) for each in kept) for address in inside)  # type: ignore[arg-type]
    return True


@pytest.fixture(scope="module")
def rules(manifests: Manifests) -> Rules:
    return Rules(list(manifests.of("NetworkPolicy").values()))


def test_who_reaches_whom(manifests: Manifests, rules: Rules) -> None:
    allowed = {
        ("gateway", "postgres", 5432),
        ("gateway", "valkey", 6379),
        ("gateway", "ml", 8100),
        ("ml", "valkey", 6379),
        ("generation-worker", "ml", 8100),
        ("generation-worker", "valkey", 6379),
        ("training-worker", "ml", 8100),
        ("training-worker", "valkey", 6379),
    }
    nobody_listens = 9
    ports = {pod.component: {*pod.ports.values(), nobody_listens} for pod in manifests.pods}
    ray = {"ml", "ray-worker"} if "ray-worker" in ports else set()
    allowed |= {(source, target, port) for source, target in product(ray, ray) for port in ports[target]}
    reached = {
        (source.component, target.component, port)
        for source, target in product(manifests.pods, manifests.pods)
        for port in ports[target.component]
        if rules.between(source, target, port)
    }

    assert reached == {(source, target, port) for source, target, port in allowed if {source, target} <= set(ports)}


def test_nothing_is_let_through_that_no_other_policy_names(manifests: Manifests) -> None:
    """Pods that somebody adds to the namespace, too."""
    assert manifests.of("NetworkPolicy")["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_who_reaches_the_world(manifests: Manifests, rules: Rules) -> None:
    trains_or_serves = {"ml", "training-worker", "ray-worker"} & {pod.component for pod in manifests.pods}
    stays_inside = manifests.variant is CPU
    expected = {component: {443} for component in trains_or_serves if not stays_inside}

    assert {pod.component: ports for pod in manifests.pods if (ports := rules.outside(pod))} == expected


def test_what_other_namespaces_have_to_do_with_us(manifests: Manifests, rules: Rules) -> None:
    entered = {pod.component: entries for pod in manifests.pods if (entries := rules.namespaces(pod, "Ingress"))}
    keda = {"valkey": {("keda", 6379)}} if "keda" in manifests.variant.components else {}
    assert entered == {"gateway": {("allowed", 3100)}, **keda}
    for pod in manifests.pods:
        reached = rules.namespaces(pod, "Egress")
        assert ("kube-system", 53) in reached
        servers = {("databases", 6379)} | ({("databases", 5432)} if pod.component == "gateway" else set())
        elsewhere = "servers-elsewhere" in manifests.variant.components
        assert reached - {("kube-system", 53)} == (servers if elsewhere else set()), pod.owner


def gpus(manifests: Manifests) -> dict[str, int]:
    """How many each component is given."""
    return {
        pod.component: container["resources"]["limits"]["nvidia.com/gpu"]
        for pod in manifests.pods
        for container in pod.containers
        if "nvidia.com/gpu" in container["resources"]["limits"]
    }


@only(FILES, CPU, GPU, SCALED)
def test_engine_and_trainer_have_a_gpu_each(manifests: Manifests, secrets: dict[str, str]) -> None:
    on_gpus = manifests.variant.name == "overlays/gpu"

    assert gpus(manifests) == ({"ml": 1, "training-worker": 1} if on_gpus else {})
    assert settings_of(manifests, "ml", secrets).training_gpu == "share", "nobody has to sleep for the other"


@only(MULTI_NODE)
def test_model_has_a_gpu_for_each_of_its_parts(manifests: Manifests, secrets: dict[str, str]) -> None:
    (group,) = manifests.of("RayCluster")["ml"]["spec"]["workerGroupSpecs"]
    ml = settings_of(manifests, "ml", secrets)

    assert gpus(manifests) == {"ml": ml.tensor_parallel_size, "ray-worker": ml.tensor_parallel_size, "training-worker": 1}
    assert 1 + group["replicas"] == ml.pipeline_parallel_size
    assert group["minReplicas"] == group["maxReplicas"] == group["replicas"]
    assert "ml" not in manifests.of("Deployment")


@only(CPU, GPU, MULTI_NODE)
def test_images_are_of_one_kind(manifests: Manifests) -> None:
    images = {container["image"] for pod in manifests.pods for container in pod.containers if container["image"].startswith(OURS)}
    tag = "cpu" if manifests.variant is CPU else "gpu"

    assert images == {f"{OURS}gateway:latest", f"{OURS}ml:{tag}", f"{OURS}worker:{tag}"}


@only(CPU)
def test_threads_are_those_that_are_requested(manifests: Manifests, secrets: dict[str, str]) -> None:
    requests = manifests.pod("ml").spec["containers"][0]["resources"]["requests"]

    assert settings_of(manifests, "ml", secrets).cpu_threads == int(requests["cpu"])


@only(SCALED)
def test_every_replica_is_called_by_its_name(manifests: Manifests, secrets: dict[str, str]) -> None:
    gateway, ml = (settings_of(manifests, component, secrets) for component in ("gateway", "ml"))
    replicas = manifests.of("StatefulSet")["ml"]["spec"]

    assert gateway.ml_service_url == [f"http://ml-{number}.{replicas['serviceName']}:8100" for number in range(replicas["replicas"])]
    assert gateway.ml_service_url == ml.ml_service_url, "an account's replica is the same for both"
    assert replicas["podManagementPolicy"] == "Parallel", "one that does not start keeps no other from starting"


@only(SCALED)
def test_workers_are_scaled_by_the_queue_of_drafts(manifests: Manifests, secrets: dict[str, str]) -> None:
    settings = settings_of(manifests, "ml", secrets)
    scaled = manifests.of("ScaledObject")["generation-worker"]["spec"]
    trigger = scaled["triggers"][0]["metadata"]

    assert scaled["scaleTargetRef"]["name"] in manifests.of("Deployment")
    assert "replicas" not in manifests.of("Deployment")["generation-worker"]["spec"]
    assert scaled["minReplicaCount"] >= 1
    assert int(trigger["listLength"]) == settings.worker_jobs
    host, _, port = trigger["address"].partition(":")
    assert host == "valkey.conversation-assistant.svc"
    assert int(port) == manifests.of("Service")["valkey"]["spec"]["ports"][0]["port"]


@pytest.mark.anyio
async def test_scaling_looks_at_the_key_where_drafts_wait(redis_url: str, redis: Redis) -> None:
    scaled = documents_in((FOLDER / "components" / "keda" / "scaled-object.yaml").read_text())[0]
    key = scaled["spec"]["triggers"][0]["metadata"]["listName"]
    waited = redis.zcard(key)
    client = worker_redis(redis_url)
    queue = GenerationQueue(client, MlServiceSettings())
    request = AsyncGenerateRequest(messages=[Turn(role="user", content="Are we on?")], scope="kubernetes")
    try:
        job_id = await queue.enqueue(request)

        assert redis.type(key) == b"zset"
        assert redis.zcard(key) == waited + 1
        await queue.cancel(job_id)
    finally:
        await client.aclose(close_connection_pool=True)


def probes() -> list[tuple[str, str]]:
    """Image and path of every probe of the base's and the multi-node overlay's files."""
    documents = [*base_files(), *documents_in((FOLDER / "overlays" / "multi-node" / "ray-cluster.yaml").read_text())]
    found = {
        (container["image"].removeprefix(OURS), probe["httpGet"]["path"])
        for document in documents
        for pod in pods_in(document)
        for container in pod.containers
        for name, probe in container.items()
        if name.endswith("Probe") and "httpGet" in probe
    }
    return sorted(found)


def test_every_kind_of_probe_is_asked_below() -> None:
    assert probes() == [("gateway", "/health/live"), ("gateway", "/health/ready"), ("ml", "/health"), ("ml", "/health/live")]


@pytest.mark.parametrize("path", [path for image, path in probes() if image == "gateway"])
def test_probes_of_the_gateway_are_answered(gateway: GatewayProcess, path: str) -> None:
    assert httpx.get(f"{gateway.url}{path}").status_code == 200


@pytest.mark.parametrize("path", [path for image, path in probes() if image == "ml"])
def test_probes_of_the_ml_service_are_answered_without_its_token(ml_service: ScriptedMlService, path: str) -> None:
    assert httpx.get(f"{ml_service.url}{path}").status_code == 200


def commands() -> list[list[str]]:
    words = [each["command"] for document in base_files() for pod in pods_in(document) for each in pod.containers if "command" in each]
    return sorted(words)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_are_there(command: list[str]) -> None:
    program, *arguments = command
    if program == "gateway":
        assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]["gateway"] == "gateway.cli:main"
        asked = [sys.executable, "-m", "gateway", *arguments, "--help"]
        helped = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert helped.returncode == 0, helped.stderr
    else:
        module, *queue = arguments[1:]
        assert [program, arguments[0]] == ["python", "-m"]
        assert (PROJECT.joinpath(*module.split(".")) / "__main__.py").exists()
        assert set(queue) <= set(WORKERS)


@pytest.mark.parametrize(("minutes", "goes_on"), [(0, True), (3, False), (None, True)])
def test_worker_without_a_heartbeat_is_started_again(tmp_path: Path, minutes: int | None, goes_on: bool) -> None:
    """No file at all is a worker that was not told to touch one, or has not begun."""
    heartbeat = tmp_path / "heartbeat"
    if minutes is not None:
        heartbeat.touch()
        os.utime(heartbeat, (time.time() - 60 * minutes,) * 2)
    for component in ("generation-worker", "training-worker"):
        (container,) = Manifests(FILES, base_files()).pod(component).spec["containers"]
        command = [word.replace("/tmp/heartbeat", str(heartbeat)) for word in container["livenessProbe"]["exec"]["command"]]
        assert str(heartbeat) in command[-1]

        assert (subprocess.run(command, check=False).returncode == 0) is goes_on


def test_no_secret_is_written_down(secrets: dict[str, str]) -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"^kind: Secret$|stringData:|BEGIN [A-Z ]*PRIVATE KEY", text, re.MULTILINE), path
            assert not re.search(r"\b[0-9a-f]{24,}\b", text), path
            for document in documents_in(text) if path.suffix == ".yaml" else []:
                for pod in pods_in(document):
                    named = [
                        variable for container in pod.containers for variable in container.get("env", []) if variable["name"] in secrets
                    ]
                    assert all(map(_is_secret, named)), path
    for path in FOLDER.rglob("*.env"):
        written = dictionary(path.read_text())
        assert not any(written.get(name) for name in secrets), path
    assert "secrets.env" in (FOLDER / ".gitignore").read_text().split()


def test_secrets_are_made_anew_and_as_documented(secrets: dict[str, str]) -> None:
    again = dictionary(subprocess.run([FOLDER / "make-secrets.sh"], capture_output=True, text=True, check=True).stdout)
    documented = dictionary((FOLDER / "secrets.example.env").read_text())

    assert all(secrets[name] != again[name] for name in secrets)
    assert set(documented) - set(secrets) == {"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(secrets) <= set(documented)
    assert urlsplit(secrets["DATABASE_URL"]).password == secrets["GATEWAY_DATABASE_PASSWORD"]
    assert urlsplit(secrets["REDIS_URL"]).password == secrets["VALKEY_PASSWORD"]
    services = {document["metadata"]["name"]: document for document in base_files() if document["kind"] == "Service"}
    for url in (urlsplit(secrets["DATABASE_URL"]), urlsplit(secrets["REDIS_URL"])):
        assert services[url.hostname or ""]["spec"]["ports"][0]["port"] == url.port


def test_kubectl_takes_the_secrets_from_a_pipe(kubectl: str) -> None:
    command = f"'{FOLDER}/make-secrets.sh' | '{kubectl}' create secret generic assistant-secrets --from-env-file=/dev/stdin"
    made = subprocess.run(["bash", "-c", f"{command} --dry-run=client --output=yaml"], capture_output=True, text=True, check=True)

    assert "JWT_KEYS" in yaml.safe_load(made.stdout)["data"]


def test_gateway_owns_its_database_and_nothing_else(tmp_path: Path) -> None:
    """As the image of PostgreSQL runs it, on a server that has neither the role nor the database."""
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "log")
    try:
        server.start()
        superuser = server.superuser_url.replace("/assistant", "/postgres")
        rows(superuser, "drop database assistant")
        rows(superuser, "drop role gateway")
        script = FOLDER / "base" / "gateway-role.sql"
        command = [str(_BINARIES / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-d", superuser, "-f", str(script)]
        subprocess.run(command, env={**os.environ, "GATEWAY_DATABASE_PASSWORD": "it's"}, check=True, capture_output=True)

        ((password, powers),) = rows(
            superuser, "select rolpassword, rolsuper or rolcreatedb or rolcreaterole from pg_authid where rolname = 'gateway'"
        )
        assert password.startswith("SCRAM-SHA-256$")
        assert powers is False
        owners = rows(
            server.url, "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding) from pg_database where datname = 'assistant'"
        )
        assert [tuple(owner) for owner in owners] == [("gateway", "UTF8")]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            rows(server.url, "create role other")
    finally:
        server.stop()


@pytest.fixture
def head(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command of the Ray cluster's head, with a service that takes a second to stop and a Ray that runs."""
    cluster = documents_in((FOLDER / "overlays" / "multi-node" / "ray-cluster.yaml").read_text())[0]
    (container,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    programs = {
        "python": f"trap 'sleep 1; touch {tmp_path}/finished; exit 0' TERM\ntouch {tmp_path}/up\nsleep 60 & wait\n",
        "start-ray": "echo $$ > $1\nexec sleep 60\n",
    }
    for name, program in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{program}")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "KUBERAY_GEN_RAY_START_CMD": f"start-ray {tmp_path}/ray",
    }
    process = subprocess.Popen([*container["command"], *container["args"]], env=environment, start_new_session=True)
    eventually(lambda: (tmp_path / "up").exists() and (tmp_path / "ray").exists() and (tmp_path / "ray").read_text() != "")
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_head_that_is_stopped_lets_the_service_finish(head: subprocess.Popen[bytes], tmp_path: Path) -> None:
    head.terminate()

    assert head.wait(30) == 0
    assert (tmp_path / "finished").exists()


def test_head_ends_with_its_ray(head: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.kill(int((tmp_path / "ray").read_text()), signal.SIGKILL)

    assert head.wait(30) == 1
