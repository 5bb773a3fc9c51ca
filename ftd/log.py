"""Logs: readable lines on a terminal, JSON for the journal, always on stderr.

This is the only module that imports structlog. structlog imports rich wherever rich is installed, for
tracebacks that ftd does not use; that costs every worker 6 MiB and 0.1 s, so rich is hidden from it.
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import structlog
else:
    hidden = {} if "rich" in sys.modules else {"rich": None}
    sys.modules.update(hidden)
    structlog = import_module("structlog")
    for name in hidden:
        del sys.modules[name]

LogFormat = Literal["auto", "json", "console"]


def get_logger(name: str) -> Any:
    """A logger whose calls take an event and its fields: `log.info("worker found", vm=name)`."""
    return structlog.get_logger(name)


def configure(level: str, log_format: LogFormat = "auto", **context: str) -> None:
    """Sets logging up for this process. `context` (host, vm) stands in every line."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=as_json),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(**context)
