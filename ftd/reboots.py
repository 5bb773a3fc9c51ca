"""A guest that asked for a reboot is started again, as its VM file now says."""

from ftd.busy import BusyVms
from ftd.errors import ControlError
from ftd.log import get_logger
from ftd.operations import Operations
from ftd.protocol.control_operator import ForceParams

log = get_logger(__name__)


async def start_again(operations: Operations, busy: BusyVms, vm: str) -> None:
    """To be called when the old worker is gone. What fails is logged: nobody waits for it."""
    log.info("the guest asked for a reboot", vm=vm)
    await busy.until_idle(vm)  # a request that the end of the old worker is about to end as well
    try:
        await operations.vm_start(ForceParams(vm=vm, force=False))
    except ControlError as error:
        log.error("not started again after a reboot; use `ftctl vm start`", vm=vm, reason=error.message)
