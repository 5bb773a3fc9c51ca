"""Why a frame is refused: one enum for both implementations.

The names and the numbers are the contract between ``ftd/dataplane/frame.h`` and this package: counters are
indexed by the number, logs and REFUSE frames carry the name. A number is never reused; new reasons go to the
end.
"""

from __future__ import annotations

import enum


class Refusal(enum.IntEnum):
    """Reason for which a frame was refused and its connection closed. 0 means "not refused" on the C side."""

    MAGIC = 1
    HEADER_CRC = 2
    VERSION = 3
    TYPE = 4
    VM = 5
    GENERATION = 6
    FLAGS = 7
    # 8 was version 2's.
    LENGTH = 9
    PAGES_LEN = 10
    EPOCH = 11
    BODY_CRC = 12
    GFN = 13
    ENCODING = 14
    TOKEN = 15
    HELLO = 16
    OVERSIZE = 17
    DUPLICATE = 18
    STATE = 19
    DISK = 20
    PAIR = 21
    PROCESSOR = 22

    @property
    def label(self) -> str:
        """The name as logs, counters and REFUSE frames spell it."""
        return self.name.lower()


class FrameRefused(Exception):
    """A frame or a part of it was refused; ``refusal`` is the reason, ``detail`` a sentence for the log."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"refused ({refusal.label}): {detail}")
        self.refusal = refusal
        self.detail = detail
