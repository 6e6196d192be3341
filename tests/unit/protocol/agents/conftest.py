"""What the tests of this directory start from."""

from __future__ import annotations

import pytest

from tests.unit.protocol.agents.wiring import Wiring


@pytest.fixture
def wiring() -> Wiring:
    """Wires without sites."""
    return Wiring()
