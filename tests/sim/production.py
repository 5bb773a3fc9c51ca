"""The worker's own modules, loaded a second time for simulated hosts.

Their code is unchanged. What they import of the world outside is replaced: trio by ``trio_stand_in``, the
files of the arbiter by ``disk``, the sockets of a handshake by ``handshake``, loggers by the run's timeline.
The modules under their real names stay as they are for everybody else.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.sim import disk, frames, handshake, trio_stand_in
from tests.sim.timeline import Logger


def _load(name: str, **instead: Any) -> Any:
    """Module ``name`` anew; ``instead``: modules that it is to find, with "__" for dots."""
    importlib.import_module(name)  # so that what it imports besides is there already, with the real trio
    origin = importlib.util.find_spec(name)
    assert origin is not None
    assert origin.origin is not None
    spec = importlib.util.spec_from_file_location(f"tests.sim.production.{name}", origin.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    replaced = {key.replace("__", "."): value for key, value in instead.items()}
    before = {key: sys.modules.get(key) for key in replaced}
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.modules.update(replaced)
    try:
        spec.loader.exec_module(module)
    finally:
        for key, value in before.items():
            if value is None:
                del sys.modules[key]
            else:
                sys.modules[key] = value
    return module


_trio: Any = ModuleType("trio")
_trio.__dict__.update(
    {name: value for name, value in vars(trio_stand_in).items() if not name.startswith("__")}
)

record_file = _load("ftd.arbiter.record_file")
local = _load("ftd.arbiter.local", trio=_trio, ftd__arbiter__record_file=record_file)
copy = _load("ftd.worker.copy", trio=_trio)
runner = _load("ftd.worker.runner", trio=_trio, ftd__worker__copy=copy)
service = _load("ftd.worker.service", trio=_trio, ftd__worker__copy=copy, ftd__worker__runner=runner)
claims = _load("ftd.worker.claims")
fencing = _load("ftd.arbiter.fencing.arbiter", trio=_trio)

record_file.os = local.os = disk.SimOs
local.fcntl = disk.SimFcntl
local.record_file = record_file
service.pair = SimpleNamespace(connect=handshake.connect, PairError=handshake.PairError)
# Files and sockets of people are no part of what is simulated: what leaves a guest goes to ``outside``.
copy.VmCopy._plug_serial_log = copy.VmCopy._plug_sockets = lambda _copy: None
copy.link_ends = lambda _pair: ()

logger = Logger()
logger.where = lambda: trio_stand_in.current_process().label
copy.log = runner.log = logger


def begin_run(ids: random.Random) -> None:
    """Claim ids of this run come from ``ids``; frames get their checksum from C."""
    copy.new_claim_id = claims.new_claim_id = lambda: ids.randbytes(16)
    for (module, name), function in frames.CHECKSUM.items():
        setattr(module, name, function)


def end_run() -> None:
    """The protocol's modules are shared with everybody else: they get their own checksum back."""
    for module, name in frames.CHECKSUM:
        setattr(module, name, frames.CHECKSUM_IN_PYTHON)
    logger.timeline = None
    logger.on_transition = lambda state: None
