"""Message ids: UUIDs that are not given twice."""

from __future__ import annotations

import uuid

from zmqagents.runtime.message_ids import MessageIds


def test_ids_are_uuids_of_version_8() -> None:
    identity = uuid.UUID(MessageIds().next())
    assert (identity.version, identity.variant) == (8, uuid.RFC_4122)


def test_ids_of_many_runtimes_all_differ() -> None:
    ids = [source.next() for source in [MessageIds() for _ in range(50)] for _ in range(100)]
    assert len(set(ids)) == len(ids)


def test_ids_are_written_as_uuids_are() -> None:
    identity = MessageIds().next()
    assert str(uuid.UUID(identity)) == identity
