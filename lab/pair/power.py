"""The power switch that both hosts stand at, for fencing: off is the death of an emulator, on its boot.

The party outside serves it on TCP port 7800 of the network that is never cut. A connection carries one line,
`ACTION HOST`, and gets one back: the exit code that `fence.sh`, the hosts' fence agent, ends with.
"""

from functools import partial
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.pair.network import QUESTIONS
from lab.pair.pair import Pair

AGENT: Final = Path(__file__).with_name("fence.sh")
INSIDE: Final = "/usr/local/sbin/fence_lab"
PORT: Final = 7800
LINE_BYTES_MAX: Final = 64
DONE: Final = 0
REFUSED: Final = 1
IS_OFF: Final = 2


def peer_table(peer: str) -> str:
    """The fence device's lines for `[peers.PEER]` of a host's file."""
    return f'fence = ["{INSIDE}", "plug={peer}"]\n'


class PowerSwitch:
    """Of one pair. `asked` is what it was told, in order."""

    def __init__(self, pair: Pair) -> None:
        self.asked: list[str] = []
        self._pair = pair

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever. A host that does not boot when it is turned on raises HostError."""
        listener = await self._pair.networks.listen(QUESTIONS.address("outside"), PORT)
        task_status.started()
        async with trio.open_nursery() as boots:
            await trio.serve_listeners(partial(self._answer, boots), [listener])

    async def _answer(self, boots: trio.Nursery, stream: trio.SocketStream) -> None:
        line = bytearray()
        async with stream:
            while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
                received = await stream.receive_some(LINE_BYTES_MAX)
                if not received:
                    break
                line += received
            code = self._act(boots, line.decode(errors="replace").strip())
            await stream.send_all(f"{code}\n".encode())

    def _act(self, boots: trio.Nursery, request: str) -> int:
        self.asked.append(request)
        action, _, name = request.partition(" ")
        try:
            member = self._pair.member(name)
        except LabError:
            return REFUSED
        if action == "off":
            if member.state != "dead":
                member.kill()
        elif action == "on":
            # As with a real one: on at once, booted a while later.
            if member.state == "dead":
                boots.start_soon(member.boot)
        elif action in ("status", "monitor"):
            return IS_OFF if member.state == "dead" else DONE
        else:
            return REFUSED
        return DONE
