"""AutoGen's own serializers. The classes are private to ``autogen_core``; their wire form is not.

Protobuf is used as it is: a packed ``google.protobuf.Any``. The JSON ones are only recognized, as our JSON reads and
writes the same and more.
"""

from __future__ import annotations

from autogen_core._serialization import (
    DataclassJsonMessageSerializer,
    ProtobufMessageSerializer,
    PydanticJsonMessageSerializer,
)

__all__ = ["DataclassJsonMessageSerializer", "ProtobufMessageSerializer", "PydanticJsonMessageSerializer"]
