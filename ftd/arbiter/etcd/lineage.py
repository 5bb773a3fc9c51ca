"""What all answers of a cluster have in common: the cluster's id, and a raft term that never goes back.

A term that goes back comes from a member that was set up anew, or from a cluster that was put back to an
older state: its records may be older than what was promised. Another id is another cluster: its generations
are not ours. What is refused says nothing, as if nobody had answered.
"""

from __future__ import annotations


class RefusedAnswer(Exception):
    """An answer that does not belong to those before it; the text says why."""


class Lineage:
    """Remembers for one asker, for as long as it lives. The first answer decides which cluster it is."""

    def __init__(self) -> None:
        self._cluster_id = ""
        self._raft_term = 0

    def admit(self, cluster_id: str, raft_term: int) -> None:
        """Raises RefusedAnswer."""
        if self._cluster_id not in ("", cluster_id):
            raise RefusedAnswer(
                f"it belongs to another cluster ({cluster_id}) than the one that answered before "
                f"({self._cluster_id}): correct arbiter.endpoints, or was the cluster made anew?"
            )
        if raft_term < self._raft_term:
            raise RefusedAnswer(
                f"its raft term {raft_term} is older than {self._raft_term}, which was seen before: "
                "was it put back to an older state?"
            )
        self._cluster_id, self._raft_term = cluster_id, raft_term
