"""What the data plane raises."""

import errno


class DataplaneError(Exception):
    """A call into the data plane failed: ``code`` is an errno, the message says what was tried on what."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_memory(self) -> bool:
        """Whether the host did not have the memory."""
        return self.code == errno.ENOMEM
