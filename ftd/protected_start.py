"""Before a VM is booted anew on the host that the arbiter names: has a standby a whole copy of it?

When a protected guest's worker dies, its standby needs a moment until it has claimed the next generation. In
that moment the record still names this host, and a start here would boot another guest and take the
generation from the one that goes on. So whoever was protected asks its peers first.
"""

import uuid

from ftd.arbiter.contract import Arbiter, ArbiterUnreachable
from ftd.config import Config, VmConfig
from ftd.errors import ControlError, ErrorKind
from ftd.peers import Peer
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control_peer import HasCopyParams


class ProtectedStart:
    """Of one daemon with an arbiter; without one `no_arbiter` asks for every start."""

    def __init__(self, config: Config, wishes: Wishes, arbiter: Arbiter) -> None:
        self._config = config
        self._wishes = wishes
        self._arbiter = arbiter

    async def check(self, vm: VmConfig) -> None:
        """Raises ControlError when a peer has a copy that may go on, or does not say that it has none."""
        if self._wishes.get(vm.name) is not Wish.ENTERED or not await self._is_ours(vm):
            return
        for name in vm.peers:
            await self._check_peer(vm.name, name)

    async def _is_ours(self, vm: VmConfig) -> bool:
        """The guest ran here and has not ended, as far as is known. All else is decided by the claim."""
        try:
            record = await self._arbiter.read(str(uuid.UUID(bytes=vm.vm_id)))
        except ArbiterUnreachable:
            return False  # the worker asks it next, and says so
        return record is not None and record.holder == self._config.host.name

    async def _check_peer(self, vm: str, name: str) -> None:
        try:
            report = await Peer(self._config.host.name, name, self._config.peers[name]).has_copy(
                HasCopyParams(vm=vm)
            )
        except ControlError as error:
            raise ControlError(
                ErrorKind.REFUSED,
                f"VM {vm} was protected, and whether {name} has a whole copy of it cannot be found out: "
                f"{error.message}. A start would boot it anew. Wait for {name}, or, if that copy is surely "
                "gone or not wanted, start it with --force",
            ) from error
        if report.state not in (None, "standby_syncing"):  # that one has no whole epoch
            raise ControlError(
                ErrorKind.REFUSED,
                f"VM {vm} was protected, and {name} has a whole copy of it ({report.state}): a start would "
                f"boot it anew. See `ftctl status` on {name}, where it goes on; if that copy is not wanted, "
                "end it there, or start it here with --force",
            )
