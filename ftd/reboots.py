"""A guest that asked for a reboot is started again, as its VM file now says, and protected if it was."""

from ftd.errors import ControlError
from ftd.log import get_logger
from ftd.operations import Operations
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ForceParams

log = get_logger(__name__)


async def start_again(operations: Operations, vm: str, protected: bool) -> None:
    """To be called when the old worker is gone. What fails is logged: nobody waits for it."""
    log.info("the guest asked for a reboot", vm=vm, protected=protected)
    try:
        await operations.vm_start(ForceParams(vm=vm, force=False))
    except ControlError as error:
        log.error("not started again after a reboot; use `ftctl vm start`", vm=vm, reason=error.message)
        return
    if not protected:
        return
    try:
        await operations.enter(VmParams(vm=vm))
    except ControlError as error:
        log.error("runs again, but unprotected; use `ftctl enter`", vm=vm, reason=error.message)
