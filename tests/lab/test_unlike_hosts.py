"""A guest is not protected by a host whose processor it could not use."""

from __future__ import annotations

from typing import Final

import pytest

from ftd.errors import ControlError
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ENTER, VM_START, ForceParams
from lab.kernel.modules import Modules
from lab.pair.configuration import Configuration, ledger
from lab.pair.pair import PairSpec, running
from tests.lab.pair_scene import VM, eventually

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(600)]
DEADLINE_S: Final = 120.0


async def test_a_host_that_lacks_features_is_refused(modules: Modules) -> None:
    configuration = Configuration({VM: ledger(reprotect=False)})
    async with running(PairSpec(modules, configuration, beta_lacks=("avx2", "bmi2"))) as pair:
        await pair.alpha.call(VM_START, ForceParams(vm=VM), deadline_s=DEADLINE_S)
        with pytest.raises(
            ControlError, match=r"lacks features that the guest was offered: CPUID 7\.0\.ebx 0x120"
        ):
            await pair.alpha.call(ENTER, VmParams(vm=VM), deadline_s=DEADLINE_S)

        async def beta_has_nothing() -> bool:
            return await pair.beta.status(VM) is None

        await eventually("the refused standby ends", beta_has_nothing)
        status = await pair.alpha.status(VM)
        assert status is not None
        assert status.state == "idle", "the guest goes on as before"
