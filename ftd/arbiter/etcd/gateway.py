"""The two requests that an arbiter needs of etcd's v3 JSON gateway: read a key, and swap its value.

Both are linearizable: a member without a quorum does not answer them. Keys and values are base64, 64-bit
numbers are strings, and what is zero or empty is left out. Each answer tells cluster and raft term; fields
that are not needed here may come and go with etcd's versions.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from ftd.arbiter.etcd.http import HttpConnection
from ftd.arbiter.etcd.lineage import Lineage, RefusedAnswer

_OK: Final = 200
_NOT_FOUND: Final = 404
_NOT_YET: Final = (503, 504)
_EXPLANATION_CHARACTERS_MAX: Final = 200


class _Header(msgspec.Struct, frozen=True):
    cluster_id: Annotated[str, Meta(pattern=r"\A[0-9]{1,20}\Z")]
    raft_term: Annotated[int, Meta(ge=1)]


class _KeyValue(msgspec.Struct, frozen=True):
    key: bytes
    mod_revision: Annotated[int, Meta(ge=1)]
    value: bytes = b""


class _Found(msgspec.Struct, frozen=True):
    kvs: Annotated[list[_KeyValue], Meta(max_length=1)] = []


class _RangeAnswer(_Found, frozen=True, kw_only=True):
    header: _Header


class _Done(msgspec.Struct, frozen=True):
    response_range: _Found | None = None
    response_put: dict[str, Any] | None = None


class _TxnAnswer(msgspec.Struct, frozen=True):
    header: _Header
    responses: Annotated[list[_Done], Meta(min_length=1, max_length=1)]
    succeeded: bool = False


class _Failure(msgspec.Struct, frozen=True):
    message: str = ""
    error: str = ""


class NotYetError(Exception):
    """The member has no leader, or just got one: it is worth to ask again. The text says what it said."""


A = TypeVar("A", _RangeAnswer, _TxnAnswer)


@dataclass(frozen=True)
class Stored:
    """Value of a key, and the revision that wrote it. No value, revision 0: there is no such key."""

    value: bytes | None
    revision: int


class Gateway:
    """One member, over one connection. Its methods raise NotYetError, RefusedAnswer, HttpError."""

    def __init__(self, connection: HttpConnection, lineage: Lineage) -> None:
        self._connection = connection
        self._lineage = lineage

    async def get(self, key: bytes) -> Stored:
        """What is stored at some moment of the call."""
        answer = await self._ask("/v3/kv/range", {"key": key}, _RangeAnswer)
        return _stored(answer, key)

    async def swap(self, key: bytes, expected: Stored, value: bytes) -> Stored | None:
        """Replaces exactly what ``expected`` is, also with an equal value; None: done, durably. Otherwise
        what is stored instead, and nothing was done."""
        comparison = {
            "key": key,
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": str(expected.revision),
        }
        transaction = {
            "compare": [comparison],
            "success": [{"request_put": {"key": key, "value": value}}],
            "failure": [{"request_range": {"key": key}}],
        }
        answer = await self._ask("/v3/kv/txn", transaction, _TxnAnswer)
        (done,) = answer.responses
        if answer.succeeded and done.response_put is not None:
            return None
        if answer.succeeded or done.response_range is None:
            raise RefusedAnswer("its answer does not fit the transaction that it was asked for")
        return _stored(done.response_range, key)

    async def _ask(self, path: str, question: dict[str, Any], kind: type[A]) -> A:
        status, body = await self._connection.post(path, msgspec.json.encode(question))
        if status in _NOT_YET:
            raise NotYetError(_explain(status, body))
        if status != _OK:
            raise RefusedAnswer(_explain(status, body))
        try:
            # Not strict: 64-bit numbers are strings.
            answer = msgspec.json.decode(body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedAnswer(f"its answer is not one of etcd's v3 JSON gateway ({error})") from error
        self._lineage.admit(answer.header.cluster_id, answer.header.raft_term)
        return answer


def _stored(found: _Found, key: bytes) -> Stored:
    if not found.kvs:
        return Stored(None, 0)
    (pair,) = found.kvs
    if pair.key != key:
        raise RefusedAnswer(f"it answered for another key, {base64.b64encode(pair.key).decode()} in base64")
    return Stored(pair.value, pair.mod_revision)


def _explain(status: int, body: bytes) -> str:
    if status == _NOT_FOUND:
        return "it has no v3 JSON gateway (HTTP status 404): is it etcd, 3.4 or newer?"
    try:
        failure = msgspec.json.decode(body, type=_Failure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        failure = _Failure()
    said = failure.message or failure.error or "no reason given"
    return f"it refused ({said[:_EXPLANATION_CHARACTERS_MAX]!r}, HTTP status {status})"
