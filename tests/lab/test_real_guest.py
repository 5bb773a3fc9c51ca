"""A real Linux guest with a network and a disk outlives the power loss of its host, and so do its clients."""

from __future__ import annotations

import pytest

from bench.lab.kills import SETTLED_ANSWERS, kill_repeatedly
from bench.lab.scene import running
from bench.lab.vm import Protection

# Slow enough for two emulated hosts on a machine with two processors.
PROTECTION = Protection(rate_hz=50, heartbeat_interval_ms=100, heartbeat_timeout_ms=1000)
pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(3000)]


async def test_a_guest_with_clients_outlives_its_host() -> None:
    """One TCP connection to the end, a database with what it acknowledged, a clean disk, clocks going on."""
    async with running(PROTECTION, with_qemu=False) as scene:
        [kill] = [kill async for kill in kill_repeatedly(scene, 1)]
    assert kill.chain["intact"], kill.chain
    assert kill.chain["answered"] >= 2 * SETTLED_ANSWERS, "it was answered before the kill, and after it"
    assert not kill.chain["lost_bytes"] + kill.chain["repeated_bytes"] + kill.chain["wrong_bytes"], kill.chain
    assert not kill.database["missing"], kill.database
    assert not kill.database_from_disk["missing"], kill.database_from_disk
    assert kill.file_system_clean
    assert not kill.complaints
