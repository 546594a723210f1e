"""Objects of every kind, good and bad, that pydantic and the API server must judge alike.

A bad sample names the path that both must complain about, and a word of the complaint. `server=False` marks what a CRD
cannot say: there the API server accepts the object and the operator refuses it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proctor.api.names import API_VERSION

Spec = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    title: str
    kind: str
    spec: Spec
    path: str = ""
    word: str = ""
    server: bool = True

    @property
    def good(self) -> bool:
        return not self.path

    def document(self, name: str = "sample") -> dict[str, Any]:
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": {"name": name}, "spec": self.spec}


def suite(*steps: Spec, **fields: Any) -> Spec:
    return {"target": {"name": "shop"}, "steps": list(steps) or [{"name": "one"}], **fields}


def step(name: str = "one", **fields: Any) -> Spec:
    return {"name": name, **fields}


def chaos(**fields: Any) -> Spec:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "fault": "PodKill"} | fields
    return {key: value for key, value in spec.items() if value is not None}


def gate(**fields: Any) -> Spec:
    return {"metrics": [{"name": "p95_ms", "limit": 300} | fields]}


LOAD = {"users": 10, "spawnRate": 2, "duration": "30s", "workers": 2, "profile": "steps"}

FULL_SUITE = suite(
    step(
        "load",
        kind="Locust",
        load=LOAD,
        gates=["p95"],
        exclusive=True,
        after=["smoke"],
        chaos=[{"template": {"fault": "PodKill", "selector": {"matchLabels": {"app": "web"}}}, "at": "10s"}],
    ),
    step(
        "smoke",
        source={"git": {"url": "https://git.example/x.git", "ref": "v1", "path": "tests", "secretRef": {"name": "g"}}},
        path="smoke/test_a.py::test_b[x-1]",
        args=["-k", "not slow", "--maxfail=1"],
        shards=3,
        startTimeout="2m",
        timeout="1h30m",
        retry={"attempts": 3, "backoff": "0s", "factor": 3, "maxBackoff": "1m"},
        evidence={"requests": 200, "a" * 32: 10**9, "a_b-2": 1},
        serviceAccountName="proctor-chaos",
    ),
    step("maps", source={"configMapRef": {"name": "tests.v1"}}),
    target={
        "name": "shop",
        "namespace": "bazaar",
        "selector": {"matchLabels": {"app.kubernetes.io/part-of": "bazaar"}},
        "endpoints": [
            {"name": "gateway", "url": "http://gateway.bazaar:8080"},
            {"name": "bus", "url": "nats://n:4222"},
        ],
        "baselineEndpoints": [{"name": "gateway", "url": "http://old.bazaar:8080"}],
        "secretRef": {"name": "keys"},
    },
    mode="LIVE_SMOKE",
    runner={
        "image": "localhost/tests:1",
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
        "env": [{"name": "A", "value": "b"}, {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "env"}}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "serviceAccountName": "tests",
        "imagePullSecrets": [{"name": "pull"}],
        "podTemplate": {
            "labels": {"team": "checkout"},
            "annotations": {"example.com/note": "x"},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        },
    },
    parallelism=16,
    quarantine=[{"test": "a.py::t", "reason": "slow disk", "owner": "ann", "expires": "2028-02-29"}],
    onFlaky="Fail",
    impact="Report",
    run={
        "triggers": ["SpecChange", "TargetChange"],
        "schedule": "0 3 * * 1-5",
        "timeZone": "Europe/Zurich",
        "concurrency": "Replace",
        "keep": {"passed": 3, "failed": 0},
        "ttl": {"passed": "24h", "failed": "720h"},
    },
    suspend=True,
)

GOOD = [
    Sample("smallest suite", "TestSuite", suite()),
    Sample("every field of a suite", "TestSuite", FULL_SUITE),
    Sample("run of a suite", "TestRun", {"suiteRef": {"name": "nightly"}}),
    Sample(
        "run with everything",
        "TestRun",
        {
            "suite": FULL_SUITE,
            "steps": ["smoke", "load"],
            "mode": "GOLDEN",
            "seed": 0,
            "trigger": "ArgoCD",
            "abort": True,
            "suspend": True,
        },
    ),
    Sample("smallest fault", "ChaosExperiment", chaos()),
    Sample(
        "fault with everything",
        "ChaosExperiment",
        {
            "targetRef": {"kind": "StatefulSet", "name": "nats"},
            "fault": "NetworkCut",
            "port": 4222,
            "driver": "ChaosMesh",
            "mode": "Percent",
            "value": 50,
            "seed": 7,
            "duration": "20s",
            "recoveryTimeout": "2m",
            "limits": {"maxPercent": 100, "maxCount": 3, "respectPDB": False},
            "steadyState": {
                "probes": [
                    {"name": "web", "http": {"url": "http://web/healthz"}},
                    {"name": "bus", "nats": {"address": "nats:4222"}},
                    {"name": "db", "tcp": {"address": "db:5432"}},
                    {"name": "up", "prometheus": {"url": "http://prometheus:9090", "query": "up"}},
                    {"name": "own", "argv": ["/bin/true", "a b"]},
                ]
            },
            "abort": True,
        },
    ),
    Sample("smallest gate", "PerfGate", gate()),
    Sample(
        "gate with everything",
        "PerfGate",
        {
            "metrics": [
                {
                    "name": "p95_ms",
                    "source": "Prometheus",
                    "query": "up",
                    "direction": "HigherIsBetter",
                    "limit": -1,
                    "maxRegressionPercent": 10,
                    "minSamples": 5,
                    "confidence": 95,
                }
            ],
            "baseline": {"lastGreen": True},
            "window": "Steady",
            "dryRun": True,
            "load": LOAD,
        },
    ),
    *(
        Sample(f"gate against {name}", "PerfGate", gate() | {"baseline": {name: {"name": "x"}}})
        for name in ("runRef", "configMapRef")
    ),
]


def _of_a_suite() -> Iterator[tuple[str, Spec, str, str, bool]]:
    """Yield title, suite, path below the suite, word, and whether the API server refuses it too."""
    yield "unknown field", suite(paralellism=2), "paralellism", "", True
    yield "unknown field of a step", suite(step(shard=2)), "steps[0].shard", "", True
    yield "no target", {"steps": [step()]}, "target", "equired", True
    yield "no steps", suite() | {"steps": []}, "steps", "at least 1", True
    yield "too many steps", suite(*(step(f"s{n}") for n in range(33))), "steps", "32", True
    yield "name with capitals", suite(step("One")), "steps[0].name", "", True
    yield "long name", suite(step("a" * 41)), "steps[0].name", "40", True
    yield "name twice", suite(step("one"), step("one")), "steps", "", True
    yield "no shards", suite(step(shards=0)), "steps[0].shards", "1", True
    yield "too many shards", suite(step(shards=65)), "steps[0].shards", "64", True
    yield "shards as text", suite(step(shards="many")), "steps[0].shards", "integer", True
    yield "unknown kind", suite(step(kind="pytest")), "steps[0].kind", "Locust", True
    yield "duration in days", suite(step(timeout="2d")), "steps[0].timeout", "", True
    yield "duration without unit", suite(step(startTimeout="60")), "steps[0].startTimeout", "", True
    yield "no time at all", suite(step(timeout="0s")), "steps[0].timeout", "at least 1s", False
    yield "longer than a year", suite(step(timeout="99999h")), "steps[0].timeout", "longer", False
    yield "load without Locust", suite(step(load=LOAD)), "steps[0]", "load belongs to kind Locust", True
    yield "Locust without load", suite(step(kind="Locust")), "steps[0]", "load belongs to kind Locust", True
    yield "no users", suite(step(kind="Locust", load={"users": 0})), "steps[0].load.users", "1", True
    both = {"configMapRef": {"name": "a"}, "git": {"url": "https://git.example/a"}}
    yield "two sources", suite(step(source=both)), "steps[0].source", "at most one of configMapRef and git", True
    yield "git over a local path", suite(step(source={"git": {"url": "/srv/a"}})), "steps[0].source.git.url", "", True
    option = {"git": {"url": "https://git.example/a", "ref": "--upload-pack=x"}}
    yield "git ref that is an option", suite(step(source=option)), "steps[0].source.git.ref", "", True
    yield "after itself", suite(step(after=["one"])), "steps", "after must name other steps", True
    yield "after nothing", suite(step(after=["two"])), "steps", "after must name other steps", True
    circle = suite(step("one", after=["two"]), step("two", after=["one"]))
    yield "after in a circle", circle, "steps", "circle", False
    for args in (["-p", "no:proctor.runner.plugin"], ["-pno:proctor"], ["--collect-only"], ["--co"], ["-x", "--pdb"]):
        yield f"args {args}", suite(step(args=args)), "steps[0].args", "", False
    yield "attempts", suite(step(retry={"attempts": 11})), "steps[0].retry.attempts", "10", True
    for name in ("Requests", "9", "_a", "a" * 33, "a.b", "a\n"):
        yield (
            f"evidence named {name!r}",
            suite(step(evidence={name: 1})),
            "steps[0].evidence",
            "names of evidence",
            True,
        )
    nine = {f"n{n}": 1 for n in range(9)}
    yield "evidence of nine names", suite(step(evidence=nine)), "steps[0].evidence", "8", True
    for count in (0, 10**9 + 1):
        yield f"evidence of {count}", suite(step(evidence={"a": count})), "steps[0].evidence.a", "", True
    yield "mode", suite(mode="mock"), "mode", "MOCK", True
    yield "parallelism", suite(parallelism=0), "parallelism", "1", True
    yield (
        "endpoint without scheme",
        suite(target={"name": "a", "endpoints": [{"name": "g", "url": "gateway:80"}]}),
        ("target.endpoints[0].url"),
        "",
        True,
    )
    twice = {"name": "a", "endpoints": [{"name": "g", "url": "http://a"}, {"name": "g", "url": "http://b"}]}
    yield "endpoint twice", suite(target=twice), "target.endpoints", "", True
    yield (
        "selector of nothing",
        suite(target={"name": "a", "selector": {"matchLabels": {}}}),
        ("target.selector.matchLabels"),
        "at least 1",
        True,
    )
    for part in ("labels", "annotations"):
        template = {part: {"a": "b", "proctor.dev/run-uid": "x"}}
        yield (
            f"reserved {part}",
            suite(runner={"podTemplate": template}),
            f"runner.podTemplate.{part}",
            "reserved",
            True,
        )
    late = {"test": "a", "reason": "b", "owner": "c", "expires": "2027-02-29"}
    yield "day that is none", suite(quarantine=[late]), "quarantine[0].expires", "day", False
    yield "day in words", suite(quarantine=[late | {"expires": "soon"}]), "quarantine[0].expires", "", True
    ownerless = {key: value for key, value in late.items() if key != "owner"}
    yield "quarantine without owner", suite(quarantine=[ownerless]), "quarantine[0].owner", "equired", True
    yield "onFlaky", suite(onFlaky=True), "onFlaky", "", True
    yield "time zone", suite(run={"timeZone": "Europe/Zuerich"}), "run.timeZone", "IANA", False
    yield "time zone outside", suite(run={"timeZone": "../../etc/passwd"}), "run.timeZone", "IANA", False
    yield "trigger", suite(run={"triggers": ["Schedule"]}), "run.triggers[0]", "SpecChange", True
    yield "ttl", suite(run={"ttl": {"passed": "P1D"}}), "run.ttl.passed", "", True
    yield "keep", suite(run={"keep": {"failed": -1}}), "run.keep.failed", "0", True


def _bad() -> Iterator[Sample]:
    for title, spec, path, word, server in _of_a_suite():
        yield Sample(title, "TestSuite", spec, f"spec.{path}", word, server)
        yield Sample(f"{title}, inline", "TestRun", {"suite": spec}, f"spec.suite.{path}", word, server)
    either = "exactly one of suiteRef and suite"
    yield Sample("neither suite", "TestRun", {"seed": 1}, "spec", either)
    yield Sample("both suites", "TestRun", {"suite": suite(), "suiteRef": {"name": "a"}}, "spec", either)
    yield Sample("step of no suite", "TestRun", {"suite": suite(), "steps": ["b"]}, "spec.steps", "must name steps of")
    yield Sample("seed", "TestRun", {"suiteRef": {"name": "a"}, "seed": -1}, "spec.seed", "0")
    yield Sample("mode", "TestRun", {"suiteRef": {"name": "a"}, "mode": "LIVE"}, "spec.mode", "LIVE_SMOKE")

    def fault(title: str, path: str, word: str = "", *, server: bool = True, **fields: Any) -> Sample:
        return Sample(title, "ChaosExperiment", chaos(**fields), path, word, server)

    either = "exactly one of selector and targetRef"
    yield fault("no target", "spec", either, selector=None)
    yield fault("two targets", "spec", either, targetRef={"kind": "Pod", "name": "a"})
    yield fault("unknown fault", "spec.fault", "PodKill", fault="DiskFull")
    yield fault("cut without port", "spec", "port belongs to fault NetworkCut", fault="NetworkCut")
    yield fault("port without cut", "spec", "port belongs to fault NetworkCut", port=80)
    yield fault("port", "spec.port", "65535", fault="NetworkCut", port=65536)
    yield fault("fixed without value", "spec", "value belongs to modes Fixed and Percent", mode="Fixed")
    yield fault("value without mode", "spec", "value belongs to modes Fixed and Percent", value=3)
    yield fault("no duration", "spec.duration", "at least 1s", server=False, duration="0s")
    yield fault("limits", "spec.limits.maxPercent", "100", limits={"maxPercent": 101})
    one = "exactly one of http, nats, tcp, prometheus and argv"
    yield fault("probe of nothing", "spec.steadyState.probes[0]", one, steadyState={"probes": [{"name": "a"}]})
    two = {"name": "a", "tcp": {"address": "a:1"}, "argv": ["true"]}
    yield fault("probe of two", "spec.steadyState.probes[0]", one, steadyState={"probes": [two]})
    portless = {"name": "a", "tcp": {"address": "db"}}
    yield fault("probe without port", "spec.steadyState.probes[0].tcp.address", "", steadyState={"probes": [portless]})
    shell = {"name": "a", "argv": "true"}
    yield fault("probe by shell", "spec.steadyState.probes[0].argv", "", steadyState={"probes": [shell]})

    def metric(title: str, path: str, word: str = "", **fields: Any) -> Sample:
        return Sample(title, "PerfGate", gate(**fields), f"spec.metrics[0]{path}", word)

    yield metric("query without Prometheus", "", "query belongs to source Prometheus", query="up")
    yield metric("Prometheus without query", "", "query belongs to source Prometheus", source="Prometheus")
    yield metric("float", ".limit", "integer", limit=0.5)
    yield metric("name without unit letters", ".name", "", name="P95")
    yield metric("confidence", ".confidence", "99", confidence=100)
    yield Sample("no verdict", "PerfGate", {"metrics": [{"name": "a"}]}, "spec.metrics[0]", "needs limit")
    one = "exactly one of lastGreen, runRef and configMapRef"
    yield Sample("no baseline", "PerfGate", gate() | {"baseline": {}}, "spec.baseline", one)
    two_baselines = {"lastGreen": True, "runRef": {"name": "a"}}
    yield Sample("two baselines", "PerfGate", gate() | {"baseline": two_baselines}, "spec.baseline", one)
    twice = {"metrics": [{"name": "a", "limit": 1}, {"name": "a", "limit": 2}]}
    yield Sample("metric twice", "PerfGate", twice, "spec.metrics", "")


BAD = list(_bad())
