"""Start one role: `python -m bazaar gateway|orchestrator|tools|model|migrate`."""

import sys

from bazaar import logs
from bazaar.settings import GatewaySettings, MigrateSettings, ModelSettings, OrchestratorSettings, ToolsSettings
from bazaar.web import serve


def main(arguments: list[str]) -> None:
    """Run a role until it is told to stop. Raises SystemExit for an unknown role or missing configuration."""
    logs.configure()
    # Imports sit in the branches, so that each role loads only what it runs.
    match arguments:
        case ["gateway"]:
            from bazaar.gateway import create_gateway

            gateway = GatewaySettings.load()
            serve(create_gateway(gateway), gateway)
        case ["orchestrator"]:
            from bazaar.orchestrator import create_orchestrator

            orchestrator = OrchestratorSettings.load()
            serve(create_orchestrator(orchestrator), orchestrator)
        case ["tools"]:
            from bazaar.tools import create_tools

            tools = ToolsSettings.load()
            serve(create_tools(tools), tools)
        case ["model"]:
            from bazaar.model import create_model

            model = ModelSettings.load()
            serve(create_model(model), model)
        case ["migrate"]:
            from bazaar.migrate import migrate

            migrate(MigrateSettings.load())
        case _:
            raise SystemExit("usage: python -m bazaar gateway|orchestrator|tools|model|migrate")


main(sys.argv[1:])
