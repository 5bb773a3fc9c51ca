"""The one exception that may reach an operator, and the kinds of it."""

import enum


class ErrorKind(enum.StrEnum):
    """What sort of "no" an answer is. Travels on the control connection, so a kind is never renamed."""

    UNKNOWN_VM = "unknown-vm"
    WRONG_STATE = "wrong-state"
    WRONG_ROLE = "wrong-role"
    PEER_UNREACHABLE = "peer-unreachable"
    REFUSED = "refused"
    ARBITER = "arbiter"
    CONFIG = "config"
    NO_KVM = "no-kvm"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    BAD_REQUEST = "bad-request"
    NOT_RUNNING = "not-running"
    PERMISSION = "permission"
    INTERNAL = "internal"


# 1: the operation was refused or failed. 2: what was asked for makes no sense as asked.
USAGE_KINDS = frozenset({ErrorKind.UNKNOWN_VM, ErrorKind.CONFIG, ErrorKind.BAD_REQUEST})


class ControlError(Exception):
    """A refusal or failure, for an operator: what was tried, on what, why not, what to do next."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    @property
    def exit_code(self) -> int:
        """Exit code of the command that ends with this error."""
        return 2 if self.kind in USAGE_KINDS else 1


class ConfigError(ControlError):
    """A configuration file that cannot be used. The message names file and key."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.CONFIG, message)
