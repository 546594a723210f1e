"""The orchestrator: takes tasks from JetStream and runs their episodes to the end."""
