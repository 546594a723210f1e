"""What a fault needs inside the cluster: the observer that watches, and the agents that inject and heal.

Runs in the runner's image with nothing but the standard library. Each command speaks by a sealed report in its
termination message (core.timeline); the operator decides from these reports alone.
"""
