"""What the command says and how it ends when it cannot do what was asked."""

# 0 to 3 are verdicts (see watch.EXIT_CODES), so trouble of the command itself starts above them.
NO_VERDICT = 4
TROUBLE = 5
USAGE = 64
INTERRUPTED = 130


class CommandError(Exception):
    """The command cannot go on. The text says what was wrong and what to do; `code` is the exit code."""

    def __init__(self, message: str, code: int = TROUBLE) -> None:
        super().__init__(message)
        self.code = code
