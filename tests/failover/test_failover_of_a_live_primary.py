"""An operator takes the guest over though its primary lives and is heard."""

from typing import Final

import trio

from ftd.drill.demo_client import last_record
from ftd.drill.local_pair import Guest
from ftd.protocol.control_operator import FAILOVER, ForceParams
from tests.failover.scene import eventually, playing
from tests.failover.stubborn_client import later_answers, stubborn_client

# What a primary that does not answer would be waited for.
TIMEOUT_MS: Final = 60_000
GUEST: Final = Guest(memory_mib=64, replication={"heartbeat_timeout_ms": TIMEOUT_MS})


async def test_it_stops_first_and_is_not_waited_for() -> None:
    """Promises 3 and 4: the copy that ends says nothing that the other does not know, and nobody waits."""
    async with playing(GUEST) as scene, stubborn_client(scene.alpha.console(scene.vm)) as old:

        async def answers_came() -> bool:
            return old.book.answered >= 100

        await eventually("100 answers", answers_came)
        pid = await scene.alpha.worker_pid(scene.vm)
        began_s = trio.current_time()
        await scene.beta.call(FAILOVER, ForceParams(vm=scene.vm))
        assert trio.current_time() - began_s < TIMEOUT_MS / 1000 / 2
        at_takeover = await last_record(scene.beta.console(scene.vm))
        assert at_takeover is not None
        assert at_takeover[0] >= old.book.answered, "the standby knows less than the world"
        old.expect_nothing()
        await scene.ended(pid)
        await old.closed.wait()
        assert later_answers(old, at_takeover[0]) == [], "answered by a copy that had lost the guest"
        await scene.alone(scene.beta, 2)
        scene.begin_asking(book=old.book)
        await scene.more_answers()
        await scene.settle(scene.beta)
