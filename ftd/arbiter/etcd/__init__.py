"""Arbiter whose records are keys of an etcd cluster, over its v3 JSON gateway.

``arbiter``       the contract: read, decide, swap
``gateway``       the two requests that this takes, and what is refused of their answers
``lineage``       one cluster, whose raft term never goes back
``http``          requests to one member, over one connection
``first_answer``  several members: the first that answers counts
"""
