"""Fixtures of the runtime's tests."""

from __future__ import annotations

from tests.unit.runtime.wired import wired

__all__ = ["wired"]
