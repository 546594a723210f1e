"""Every name that crosses a border: group, labels, annotations, condition types, reasons, environment keys.

They live in one file so that the operator, the runner in the pod, the chart and the docs cannot drift apart.
Standard library only: the runner imports it inside images that have no pydantic.
"""

GROUP = "proctor.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

TEST_SUITE = "TestSuite"
TEST_RUN = "TestRun"
CHAOS_EXPERIMENT = "ChaosExperiment"
PERF_GATE = "PerfGate"
PLURALS = {
    TEST_SUITE: "testsuites",
    TEST_RUN: "testruns",
    CHAOS_EXPERIMENT: "chaosexperiments",
    PERF_GATE: "perfgates",
}

# Labels. The operator writes them on Jobs, pods and plan ConfigMaps; it selects children by RUN_UID only.
LABEL_RUN_UID = f"{GROUP}/run-uid"
LABEL_RUN = f"{GROUP}/run"
LABEL_SUITE = f"{GROUP}/suite"
LABEL_STEP = f"{GROUP}/step"
LABEL_ROLE = f"{GROUP}/role"
"""`step` on a step's Job and pods, `resolve` on the Job that pins a git ref."""
LABEL_TARGET = f"{GROUP}/target"
"""On Jobs: digest of the target's namespace and name. Steps with an equal one share its exclusive lock."""
LABEL_EXCLUSIVE = f"{GROUP}/exclusive"
LABEL_EXPERIMENT_UID = f"{GROUP}/experiment-uid"
"""On the pods of a ChaosExperiment."""
LABEL_TARGET_NAMESPACE = f"{GROUP}/target-namespace"
"""On Jobs of exclusive steps: no fault of anybody else may be on in this namespace meanwhile."""
LABEL_CHAOS = f"{GROUP}/chaos"
"""On a namespace, with value `allowed`: its owners agree to faults."""
CHAOS_ALLOWED = "allowed"
FINALIZER = f"{GROUP}/heal"
"""On a ChaosExperiment from just before its fault until that is healed."""
ROLE_STEP = "step"
ROLE_RESOLVE = "resolve"

# Annotations.
ANNOTATION_TRIGGER_KEY = f"{GROUP}/trigger-key"
"""On a TestRun that the operator made: what made it due, so that one cause makes one run."""
ANNOTATION_PLAN = f"{GROUP}/plan-digest"
"""On a step's Job: digest of the plan that it was made from."""
ANNOTATION_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# Condition types.
ACCEPTED = "Accepted"
PLANNED = "Planned"
STARTED = "Started"
FINISHED = "Finished"
SUCCEEDED = "Succeeded"
EVIDENCE_STORED = "EvidenceStored"

INJECTED = "Injected"
EFFECTIVE = "Effective"
HEALED = "Healed"
RECOVERED = "Recovered"
STEADY_STATE_HELD = "SteadyStateHeld"

# Reasons that a TestRun's verdict can carry.
PASSED = "Passed"
PASSED_WITH_FLAKES = "PassedWithFlakes"
TESTS_FAILED = "TestsFailed"
TEST_ERRORS = "TestErrors"
FLAKY_TESTS = "FlakyTests"
NO_TESTS_EXECUTED = "NoTestsExecuted"
INSUFFICIENT_EVIDENCE = "InsufficientEvidence"
STEP_SKIPPED = "StepSkipped"
TARGET_CHANGED = "TargetChanged"
TARGET_UNREACHABLE = "TargetUnreachable"
TARGET_NOT_FOUND = "TargetNotFound"
ABORTED = "Aborted"
IMAGE_PULL_ERROR = "ImagePullError"
POD_CONFIG_ERROR = "PodConfigError"
UNSCHEDULABLE = "Unschedulable"
QUOTA_EXCEEDED = "QuotaExceeded"
START_TIMEOUT = "StartTimeout"
OOM_KILLED = "OOMKilled"
EVICTED = "Evicted"
NODE_LOST = "NodeLost"
DEADLINE_EXCEEDED = "DeadlineExceeded"
RUNNER_CRASHED = "RunnerCrashed"
RUNNER_INCOMPATIBLE = "RunnerIncompatible"
INCOMPLETE_REPORT = "IncompleteReport"
COLLECTION_DIFFERS = "CollectionDiffers"
COLLECTION_ERROR = "CollectionError"
SOURCE_UNAVAILABLE = "SourceUnavailable"
JOB_VANISHED = "JobVanished"
PLAN_VANISHED = "PlanVanished"
PLAN_CHANGED = "PlanChanged"
JOB_REFUSED = "JobRefused"
NAME_CONFLICT = "NameConflict"

# Reasons of Accepted=False.
INVALID_SPEC = "InvalidSpec"
UNKNOWN_FIELD = "UnknownField"
SUITE_NOT_FOUND = "SuiteNotFound"
NOT_SUPPORTED = "NotSupported"

# Reasons for which a ChaosExperiment is refused before anything happens.
NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
NO_RIGHTS = "NoRights"
LIMITS_EXCEEDED = "LimitsExceeded"
HOST_NETWORK = "HostNetwork"
HOST_PID = "HostPID"
STATIC_POD = "StaticPod"
UNKNOWN_UID = "UnknownUid"
PID_ONE_TARGET = "PidOneTarget"
POD_SECURITY_FORBIDS = "PodSecurityForbids"
DISRUPTION_BUDGET = "DisruptionBudget"
AUTOSCALED = "Autoscaled"
NOTHING_TO_OBSERVE = "NothingToObserve"
INJECTION_REFUSED = "InjectionRefused"
CHAOS_MESH_ABSENT = "ChaosMeshAbsent"

# Reasons that a ChaosExperiment's verdict can carry, beside those.
OBSERVER_FAILED = "ObserverFailed"
STEADY_STATE_NOT_HELD = "SteadyStateNotHeld"
INJECTION_FAILED = "InjectionFailed"
NOT_EFFECTIVE = "NotEffective"
NOT_RECOVERED = "NotRecovered"
NOT_HEALED = "NotHealed"
HEALING = "Healing"
TARGET_LOST = "TargetLost"
INJECTING = "Injecting"
SELECTED = "Selected"

# Reasons of Started=False while a run waits.
SUSPENDED = "Suspended"
WAITING_FOR_TARGET = "WaitingForTarget"
WAITING_FOR_BUDGET = "WaitingForBudget"
WAITING_FOR_STEP = "WaitingForStep"
WAITING_FOR_PODS = "WaitingForPods"
RESOLVING_SOURCE = "ResolvingSource"

# Environment of the runner's container, and with it of the tests.
ENV_ENDPOINT_PREFIX = "PROCTOR_ENDPOINT_"
ENV_TARGET_PREFIX = "PROCTOR_TARGET_"
ENV_SEED = "PROCTOR_SEED"
ENV_TARGET_NAMESPACE = "PROCTOR_TARGET_NAMESPACE"
"""Only where it is not the run's own."""
ENV_MODE = "TEST_MODE"
ENV_POD_UID = "PROCTOR_POD_UID"
ENV_OBSERVE = "PROCTOR_OBSERVE"
"""The observer's plan, as JSON."""
ENV_STEP = "PROCTOR_STEP"
ENV_COMMIT = "PROCTOR_COMMIT"
ENV_PREFLIGHT = "PROCTOR_PREFLIGHT"
ENV_INDEX = "JOB_COMPLETION_INDEX"

GOOD_FILE = "/tmp/good"  # noqa: S108 - the pod has a /tmp of its own
"""There once the observer has seen that all is well: what its readinessProbe asks for."""

# Why a fault agent did nothing, or not all, beside PidOneTarget and NotHealed: `error` in its report.
TOO_LATE = "TooLate"
NOT_IN_TARGET = "NotInTarget"
NOT_PERMITTED = "NotPermitted"
ALREADY_INJECTED = "AlreadyInjected"
NFT_FAILED = "NftFailed"
STILL_ALIVE = "StillAlive"
NOT_STOPPED = "NotStopped"
STILL_STOPPED = "StillStopped"
SCALE_CHANGED = "ScaleChanged"
SCALE_REFUSED = "ScaleRefused"
TARGET_GONE = "TargetGone"
AGENT_CRASHED = "AgentCrashed"

# What tests count. A summary has 3,500 bytes, hence the bounds.
EVIDENCE_PREFIX = "evidence:"
"""Before the name, in a test's user properties."""
EVIDENCE_NAME = r"[a-z][a-z0-9_-]{0,31}"
MAX_EVIDENCE = 16
"""Names in one pod's summary."""

# Paths inside the runner's pod.
PLAN_DIR = "/proctor/plan"
PLAN_KEY = "plan.json"
DURATIONS_KEY = "durations.json.gz"
WORK_DIR = "/proctor/work"
RUNNER_DIR = f"{WORK_DIR}/runner"
SOURCE_DIR = f"{WORK_DIR}/source"
CONFIG_MAP_DIR = "/proctor/configmap"
GIT_SECRET_DIR = "/proctor/git"
IMAGE_SUITES_DIR = "/suites"
TERMINATION_LOG = "/dev/termination-log"
RUNNER_CONTAINER = "runner"
PREPARE_CONTAINER = "prepare"


def label_value(name: str) -> str:
    """Return an object's name as the value of a label, which has at most 63 characters where a name has 253."""
    return name[:63].rstrip("-.")
