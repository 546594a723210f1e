"""Errors by meaning, not by transport."""


class InvalidSpec(Exception):
    """A spec that the API server took but that cannot be carried out. `reason` is for Accepted=False."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
