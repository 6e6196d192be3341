"""A runtime in a child made by fork: a clear error whatever is done with it, and no harm to the parent."""

from __future__ import annotations

import pytest

from tests.integration.clusters import new_name
from tests.integration.processes import Launch

pytestmark = pytest.mark.integration


async def test_runtime_of_the_parent_refuses_to_work_in_a_forked_child_which_may_make_its_own(launch: Launch) -> None:
    forker = await launch("forker", cluster=new_name())
    outcomes = (await forker.report("child"))["outcomes"]
    assert outcomes == dict.fromkeys(outcomes, "ForkedProcessError")
    assert (await forker.report("child's own runtime"))["answer"] == "from the child"
    assert (await forker.report("child ended"))["code"] == 0
    assert (await forker.report("parent"))["answer"] == "from the parent"
    assert await forker.exit_code() == 0
