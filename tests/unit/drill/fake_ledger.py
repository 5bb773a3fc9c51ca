"""A ledger in memory that answers like the guest, at any address, and can be told to misbehave."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio
import trio.testing

from ftd.drill.chain import Chain
from ftd.drill.ledger import Connector


@dataclass
class FakeLedger:
    """One guest. `reachable` says at which address it listens; `distort` changes what it is about to send."""

    nursery: trio.Nursery
    reachable: str | None
    silent: bool = False
    distort: Callable[[bytes], bytes] = lambda line: line
    chain: Chain = field(default_factory=Chain)
    requests: int = 0
    connections: int = 0
    _streams: list[trio.abc.Stream] = field(default_factory=list)

    def connector_for(self, address: str) -> Connector:
        async def connect() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            if address != self.reachable:
                raise OSError(f"nobody listens at {address}")
            ours, theirs = trio.testing.memory_stream_pair()
            self.connections += 1
            self._streams.append(ours)
            self.nursery.start_soon(self._serve, ours)
            return theirs

        return connect

    async def fail_over(self, address: str | None, keep: int | None = None) -> None:
        """Closes every connection and goes on at another address, knowing only the first `keep` requests."""
        self.reachable = address
        if keep is not None:
            del self.chain._hashes[keep + 1 :]
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self._streams.clear()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        buffer = b""
        try:
            while data := await stream.receive_some():
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    for answer in self._answers(line):
                        if not self.silent:
                            await stream.send_all(self.distort(answer))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _answers(self, line: bytes) -> Iterator[bytes]:
        if line == b"?":
            yield self._line(b"L", self.chain.last)
        elif line:
            self.requests += 1
            _, number_text, payload = line.split(b" ", 2)
            number = int(number_text)
            if number == self.chain.last + 1:
                self.chain.append(payload)
                yield self._line(b"A", number)
            elif number <= self.chain.last:
                yield self._line(b"D", number)
            else:
                yield b"E %d\n" % (self.chain.last + 1)

    def _line(self, kind: bytes, number: int) -> bytes:
        return b"%s %d %016x\n" % (kind, number, self.chain.hash_of(number))
