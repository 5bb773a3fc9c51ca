"""What in a kernel's log means that the kernel is not well."""

import re
from typing import Final

_TROUBLE: Final = re.compile(
    r"WARNING:|BUG:|kernel BUG at|\bOops\b|Kernel panic|general protection fault|Call Trace:|"
    r"KASAN|KCSAN|UBSAN|"
    r"possible (?:circular|recursive) locking|inconsistent lock state|suspicious RCU usage|detected stalls|"
    r"blocked for more than|refcount_t: |unknown parameter|list_(?:add|del) corruption|lab: "
)


def trouble_in(log: str) -> list[str]:
    """The lines that name a warning, a bug or a death; the lab's own word of a failed start as well."""
    return [line.strip() for line in log.splitlines() if _TROUBLE.search(line)]
