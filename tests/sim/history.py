"""What guests did, as a tree: each thing that a guest does is a node whose parent is what it had done before.

Copies that go on from one checkpoint make siblings: whoever has seen one of them must never see the other.
"""

from __future__ import annotations


class History:
    """Nodes are numbers; a child's is greater than its parent's. 0 is the guest that has done nothing."""

    def __init__(self) -> None:
        self._parents = [0]
        self.answers: dict[int, int] = {}
        """Which of the client's requests a node answers."""

    def step(self, parent: int) -> int:
        """A guest that had done ``parent`` does something new."""
        self._parents.append(parent)
        return len(self._parents) - 1

    def contains(self, node: int, ancestor: int) -> bool:
        """Whether a guest that has come to ``node`` has done ``ancestor``."""
        while node > ancestor:
            node = self._parents[node]
        return node == ancestor
