"""Log lines about what was dropped: one at once, later ones with a count, so that a flood doesn't fill the log."""

from __future__ import annotations

import logging

EVERY_S = 10.0
TURNED_AWAY_EVERY_S = 60.0  # keys are put right by people
MAX_SENDERS = 256  # beyond it all share one line


class StrayLog:
    """Reports dropped input by sender, and connections that were not made by host."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._senders: dict[str, tuple[float, int]] = {}  # label -> (next report, dropped since the last)
        self._hosts: dict[str, tuple[float, int]] = {}

    def report(self, label: str, text: str, now_s: float) -> None:
        """Something of ``label`` was dropped because of ``text``."""
        label = _bounded(self._senders, label, "other senders")
        more = _due(self._senders, label, now_s, EVERY_S)
        if more is not None:
            self._logger.warning("dropped a message of %s: %s%s", label, text, more)

    def report_turned_away(self, host: str, text: str, now_s: float) -> None:
        """No connection with ``host`` was made because of ``text``. Whichever side dialled, it is one line."""
        host = _bounded(self._hosts, host, "other hosts")
        more = _due(self._hosts, host, now_s, TURNED_AWAY_EVERY_S)
        if more is not None:
            self._logger.warning("no connection with %s: %s%s", host, text, more)


def _bounded(seen: dict[str, tuple[float, int]], label: str, others: str) -> str:
    return label if label in seen or len(seen) < MAX_SENDERS else others


def _due(seen: dict[str, tuple[float, int]], label: str, now_s: float, every_s: float) -> str | None:
    """What to say about those that were counted since the last line; None if it is not yet time for another."""
    next_s, silent = seen.get(label, (now_s, 0))
    if now_s < next_s:
        seen[label] = (next_s, silent + 1)
        return None
    seen[label] = (now_s + every_s, 0)
    return f" ({silent} more since the last report)" if silent else ""
