"""The operator's own metrics. No label grows with the number of runs or tests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_RUNS = Counter("proctor_runs", "Finished TestRuns by verdict and reason", ["verdict", "reason"], registry=REGISTRY)
_RUN_SECONDS = Histogram(
    "proctor_run_duration_seconds",
    "From planned to verdict",
    ["verdict"],
    buckets=(1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200),
    registry=REGISTRY,
)
_EXPERIMENTS = Counter(
    "proctor_experiments",
    "ChaosExperiments with a verdict, by fault, verdict and reason",
    ["fault", "verdict", "reason"],
    registry=REGISTRY,
)
LIVE_RUNS = Gauge("proctor_runs_live", "TestRuns without a verdict", registry=REGISTRY)
QUEUE_DEPTH = Gauge("proctor_queue_depth", "Keys that wait to be reconciled", registry=REGISTRY)
QUEUE_AGE = Gauge("proctor_queue_oldest_age_seconds", "Age of the oldest waiting key", registry=REGISTRY)
LEADER = Gauge("proctor_lease_held", "1 while the Lease is held", registry=REGISTRY)
RECONCILE_SECONDS = Histogram(
    "proctor_reconcile_duration_seconds",
    "One pass: observe, decide, apply",
    ["kind"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
RECONCILE_ERRORS = Counter(
    "proctor_reconcile_errors", "Passes that failed and will be repeated", ["kind"], registry=REGISTRY
)
EVENT_ERRORS = Counter("proctor_event_errors", "Kubernetes Events that could not be written", registry=REGISTRY)
_API_REQUESTS = Counter(
    "proctor_api_requests", "Requests to the API server", ["method", "resource", "code"], registry=REGISTRY
)


def api_request(method: str, resource: str, code: int) -> None:
    """Count one answered request."""
    _API_REQUESTS.labels(method, resource, str(code)).inc()


def experiment_finished(fault: str, verdict: str, reason: str) -> None:
    """Count one verdict on a fault that was just written."""
    _EXPERIMENTS.labels(fault, verdict, reason).inc()


def run_finished(verdict: str, reason: str, seconds: float) -> None:
    """Count one verdict that was just written."""
    _RUNS.labels(verdict, reason).inc()
    _RUN_SECONDS.labels(verdict).observe(seconds)
