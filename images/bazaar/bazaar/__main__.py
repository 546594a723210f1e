"""Start one role: `python -m bazaar ROLE`."""

import sys
from importlib import import_module

from bazaar import logs

ROLES = {
    "gateway": "bazaar.gateway.app",
    "orchestrator": "bazaar.orchestrator.app",
    "router": "bazaar.router.app",
    "tools": "bazaar.tools.app",
    "model": "bazaar.model.app",
    "logsink": "bazaar.logsink",
    "audit": "bazaar.safety.auditor",
    "dlq": "bazaar.dlq",
    "migrate": "bazaar.migrate",
    "preload": "bazaar.preload",
}
"""Each module has `run()`. Only the role's own is imported: a process holds nothing that it has no use for."""


def main(arguments: list[str]) -> None:
    """Run a role until it is told to stop. Raises SystemExit for an unknown role or missing configuration."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        raise SystemExit(f"usage: python -m bazaar {'|'.join(ROLES)}")
    logs.configure()
    import_module(ROLES[arguments[0]]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
