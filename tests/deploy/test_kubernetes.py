"""The manifests of deploy/kubernetes against the code that they run: settings, ports, graces, and who may talk to whom.

The base's files are read as they are, which needs nothing. What kustomize makes of them and of the overlays is looked at where kubectl is
installed, and against Kubernetes' own schemas where kubernetes-validate is.
"""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from gateway.settings import Settings as GatewaySettings
from ml_service.jobs import engine_sleep, training_worker, worker
from ml_service.settings import Settings as MlServiceSettings
from shared.host_guard import AllowedHosts
from shared.settings import describe, load
from tests.fixtures.kubernetes import (
    COMPONENT,
    CPU,
    FILES,
    FOLDER,
    GPU,
    MULTI_NODE,
    OURS,
    SCALED,
    VARIANTS,
    Manifests,
    Pod,
    Rules,
    Variant,
    base_files,
    dictionary,
    documents_in,
    is_secret,
)
from tests.fixtures.servers import POSTGRES_IMAGE, VALKEY_IMAGE

FOREIGN_KINDS = {"ScaledObject", "TriggerAuthentication", "RayCluster"}
"""Kinds that an operator brings; Kubernetes has no schema of them."""
OF_LIBRARIES = {"HOME", "HF_HOME", "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "RAY_ADDRESS", "VLLM_HOST_IP"}
"""Variables that are no settings of ours: what reads them is Python, the hub's client, the bucket's, Ray and vLLM."""
OLDEST_KUBERNETES = "1.30"  # the first whose containers can sleep before they are stopped, without a program for it
LONGEST_DNS_SECONDS = 30  # kubeadm's CoreDNS lets names be remembered for so long


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
                assert set(manifests.environment(container, secrets)) - known[image] == set(), pod.owner


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
            references = [variable["valueFrom"]["secretKeyRef"] for variable in container.get("env", []) if is_secret(variable)]
            assert {reference["key"] for reference in references} <= set(documented)


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
    assert (
        pod.spec["terminationGracePeriodSeconds"]
        >= seconds_before_stop(pod) + gateway.shutdown_delay_seconds + gateway.shutdown_grace_seconds + 20
    )
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
