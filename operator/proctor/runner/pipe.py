"""The pipe from pytest to its supervisor: one JSON object a line, written by one process only."""

import json
import os

ENV_DESCRIPTOR = "PROCTOR_RECORDS_FD"


class Pipe:
    """The writing end. A forked copy of the process stays silent: its records would be another's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()

    @classmethod
    def inherited(cls) -> "Pipe":
        """Return the pipe that the supervisor has opened. Processes that tests start do not inherit it further."""
        descriptor = int(os.environ[ENV_DESCRIPTOR])
        os.set_inheritable(descriptor, False)
        return cls(descriptor)

    def write(self, record: dict[str, object]) -> None:
        """Send one record. Raises OSError when the supervisor is gone."""
        if os.getpid() != self._owner:
            return
        data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
