"""Structured logs to standard error: ids and figures, never memory text, queries or keys.

JSON when it is not a terminal, so that a collector can read it; readable lines on one. The request log names the
route's template, not its URL: a query string can hold memory text.
"""

import logging
import sys
from typing import Literal

import structlog


def configure(level: str, form: Literal["auto", "json", "text"]) -> None:
    """Send recalld's events, and the warnings of libraries, to standard error."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer()
    )
    number = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that marks its events with `name`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger
