"""Log lines about what was dropped: one at once, later ones with a count, so that a flood doesn't fill the log."""

from __future__ import annotations

import logging

EVERY_S = 10.0
MAX_SENDERS = 256  # beyond it all share one line


class StrayLog:
    """Reports dropped input, by sender."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._senders: dict[str, tuple[float, int]] = {}  # label -> (next report, dropped since the last)

    def report(self, label: str, text: str, now_s: float) -> None:
        """Something of ``label`` was dropped because of ``text``."""
        if label not in self._senders and len(self._senders) >= MAX_SENDERS:
            label = "other senders"
        next_s, silent = self._senders.get(label, (now_s, 0))
        if now_s < next_s:
            self._senders[label] = (next_s, silent + 1)
            return
        more = f" ({silent} more since the last report)" if silent else ""
        self._logger.warning("dropped a message of %s: %s%s", label, text, more)
        self._senders[label] = (now_s + EVERY_S, 0)
