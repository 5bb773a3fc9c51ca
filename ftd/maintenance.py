"""`ftctl maintenance HOST`, asked for here or by another daemon.

The host itself keeps the record, empties itself, and refuses standbys and starts from then on, also after a
reboot. A host that does not answer cannot be told: then the one that was asked keeps off it by a record of
its own.
"""

from ftd.config import Config
from ftd.errors import ControlError, ErrorKind
from ftd.evacuation import Evacuation
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protection.kept_off import KeptOff
from ftd.protocol.control import Name
from ftd.protocol.maintenance import MaintenanceParams, MaintenanceReport

log = get_logger(__name__)


class Maintenance:
    """Of one daemon."""

    def __init__(self, config: Config, kept_off: KeptOff, evacuation: Evacuation) -> None:
        self._config = config
        self._kept_off = kept_off
        self._evacuation = evacuation

    async def operator(self, params: MaintenanceParams) -> MaintenanceReport:
        """Asked by ftctl, for this host or a peer."""
        if params.host == self._config.host.name:
            return await self.here(params)
        address = self._config.peers.get(params.host)
        if address is None:
            known = ", ".join(sorted({self._config.host.name, *self._config.peers}))
            raise ControlError(ErrorKind.CONFIG, f"no host {params.host} in [peers] (there are: {known})")
        try:
            report = await Peer(self._config.host.name, params.host, address).maintenance(params)
        except ControlError as error:
            if error.kind is not ErrorKind.PEER_UNREACHABLE:
                raise
            return await self._without(params, error)
        await self._kept_off.put(params.host, on=False)  # it knows by itself now
        return report

    async def here(self, params: MaintenanceParams) -> MaintenanceReport:
        """Asked for this host, by ftctl or by another daemon."""
        here = self._config.host.name
        if params.host != here:
            raise ControlError(ErrorKind.BAD_REQUEST, f"this is host {here}, not {params.host}")
        await self._kept_off.put(here, on=params.action == "begin")
        log.warning("maintenance", action=params.action)
        vms = await self._evacuation.run() if params.action == "begin" else []
        return MaintenanceReport(vms=vms)

    async def _without(self, params: MaintenanceParams, error: ControlError) -> MaintenanceReport:
        """The host does not answer."""
        here, there = self._config.host.name, params.host
        await self._kept_off.put(there, on=params.action == "begin")
        if params.action == "begin":
            note = (
                f"{there} does not answer, so nothing was moved. {here} puts nothing there until "
                f"`ftctl maintenance {there} --end` on {here}"
            )
        else:
            note = (
                f"{here} may put VMs on {there} again. {there} does not answer: if it is in maintenance by "
                "its own record, end that there"
            )
        return MaintenanceReport(vms=[], note=f"{note} ({error.message})")


def refuse_in_maintenance(kept_off: KeptOff, here: Name, what: str) -> None:
    """Raises ControlError when this host is in maintenance."""
    if here in kept_off.hosts:
        message = f"{here} is in maintenance: {what}. `ftctl maintenance {here} --end` ends it"
        raise ControlError(ErrorKind.REFUSED, message)
