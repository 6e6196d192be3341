from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Reading(_message.Message):
    __slots__ = ("place", "celsius")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    CELSIUS_FIELD_NUMBER: _ClassVar[int]
    place: str
    celsius: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, place: _Optional[str] = ..., celsius: _Optional[_Iterable[float]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("place", "lowest", "highest")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    LOWEST_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_FIELD_NUMBER: _ClassVar[int]
    place: str
    lowest: float
    highest: float
    def __init__(self, place: _Optional[str] = ..., lowest: _Optional[float] = ..., highest: _Optional[float] = ...) -> None: ...
