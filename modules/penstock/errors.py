"""What Penstock says to a person.

PenstockError
├── StrategyRefused  a training strategy and the processes asked for do not go together
├── StageFailed      a stage's process ended without its result
├── StageInterrupted the run was interrupted while a stage was running
└── ServiceFailed    a server did not come up, or its port belongs to somebody else
"""

import pulumi


class PenstockError(pulumi.RunError):
    """A message for the person running the command: any Pulumi program shows it as it is, without a traceback."""


class StrategyRefused(PenstockError):
    """A strategy and the parameter servers or workers asked for do not go together; the message says why."""


class StageFailed(PenstockError):
    """A stage ended without its result; the message carries the stage's own last words and its log."""


class StageInterrupted(PenstockError):
    """The run was interrupted while a stage was running; sealed artifacts are untouched."""


class ServiceFailed(PenstockError):
    """A server did not become ready, or could not be given its port."""
