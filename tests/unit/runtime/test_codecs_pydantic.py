"""Pydantic models through the registry."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SerializeAsAny,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.serialization import PayloadRegistry

T = TypeVar("T", bound=BaseModel)


class Mood(enum.Enum):
    GOOD = "good"


class Point(BaseModel):
    x: int
    y: int = 0


class Point3(Point):
    z: int


@dataclass
class Usage:
    tokens: int
    raw: bytes = b""


@dataclass
class DetailedUsage(Usage):
    model: str = "m"


class Figure(BaseModel, ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Figure):
    side: int

    def area(self) -> float:
        return self.side**2


class Simple(BaseModel):
    text: str
    when: dt.datetime | None = None
    key: UUID | None = None
    tags: dict[str, str] = {}
    pair: tuple[int, str] = (1, "a")
    mood: Mood = Mood.GOOD


class Nested(BaseModel):
    point: Point
    points: list[Point] = []
    usage: Usage | None = None


class Open(BaseModel):
    figure: SerializeAsAny[Figure]
    figures: Sequence[SerializeAsAny[Figure]]
    either: Square | Point
    anything: Any = None
    mood: Mood | str = "good"


class Numbers(BaseModel):
    one: float
    many: list[float] = []


class Raw(BaseModel):
    data: bytes
    union: str | bytes = ""


class Aliased(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    from_: str = Field(alias="from")
    figure: Figure


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    when: dt.datetime
    pair: tuple[int, int]
    figure: Figure

    @computed_field  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.when.year


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: str


class Points(RootModel[list[Point]]):
    pass


class Wrapper(BaseModel, Generic[T]):
    content: T


class OwnWay(BaseModel):
    encoded: Base64Bytes
    packed: bytes | str

    @field_serializer("packed")
    def _pack(self, value: bytes | str) -> str:
        return base64.b85encode(value if isinstance(value, bytes) else value.encode()).decode()

    @field_validator("packed", mode="before")
    @classmethod
    def _unpack(cls, value: Any) -> Any:
        return base64.b85decode(value)


class Upside(BaseModel):
    figure: Figure

    @model_serializer
    def _write(self) -> dict[str, Any]:
        return {"side": 3}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {"figure": Square(side=value["side"])} if "side" in value else value


class Secretive(BaseModel):
    name: str
    password: str | bytes = Field(default="none", exclude=True)
    figure: Figure


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Pets(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]


class Node(BaseModel):
    value: int
    children: list[Node] = []


class SpecialNode(Node):
    extra: str


def round_trip(message: Any) -> tuple[Any, str]:
    name, content_type, payload = PayloadRegistry().encode(message, {})
    receiver = PayloadRegistry()
    receiver.add_class(type(message))
    return receiver.decode(name, content_type, payload), content_type


PLAIN = [
    Simple(text="hällo", when=dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), key=UUID(int=1), tags={"a": "b"}),
    Nested(point=Point(x=1), points=[Point(x=2), Point(x=3, y=4)]),
    Numbers(one=1.5, many=[2.5]),
    Extra.model_validate({"text": "x", "more": {"a": 1}}),
    Points([Point(x=1)]),
    Wrapper[Point](content=Point(x=1)),
    Node(value=1, children=[Node(value=2)]),
]

TAGGED = [
    Nested(point=Point3(x=1, z=2), points=[Point(x=1), Point3(x=3, z=4)], usage=DetailedUsage(1, b"\xff", "big")),
    Nested(point=Point(x=1), usage=Usage(1, b"\x00\xff")),
    Open(figure=Square(side=1), figures=(Square(side=2),), either=Point(x=1), anything={"t": (1, b"\xfe")}),
    Open(figure=Square(side=1), figures=[], either=Square(side=4), mood=Mood.GOOD),
    Numbers(one=math.inf, many=[-math.inf, 1.0]),
    Raw(data=b"\xff\xfe", union=b"text"),
    Raw(data=b"text", union="text"),
    Aliased.model_validate({"from": "me", "figure": Square(side=1)}),
    Strict(when=dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), pair=(1, 2), figure=Square(side=1)),
    Extra.model_validate({"text": "x", "more": {"a": (1, 2)}}),
    Points([Point3(x=1, z=2)]),
    Wrapper[Point](content=Point3(x=1, z=2)),
    Wrapper(content=Point(x=1)),
    Pets(pets=[Dog(), Cat()]),
    Node(value=1, children=[SpecialNode(value=2, extra="s", children=[Node(value=3)])]),
    Secretive(name="n", figure=Square(side=1)),
]


@pytest.mark.parametrize("message", PLAIN, ids=lambda message: type(message).__name__)
def test_model_travels_as_plain_json_when_that_loses_nothing(message: BaseModel) -> None:
    assert round_trip(message) == (message, content_types.JSON)


@pytest.mark.parametrize("message", TAGGED, ids=lambda message: type(message).__name__)
def test_model_keeps_its_classes_when_the_annotations_leave_them_open(message: BaseModel) -> None:
    received, content_type = round_trip(message)
    assert received == message
    assert type(received) is type(message)
    assert repr(received).replace("TzInfo(0)", "TzInfo(UTC)") == repr(message).replace(
        "datetime.timezone.utc", "TzInfo(UTC)"
    )
    assert content_type == content_types.TAGGED_JSON


def test_model_is_written_as_the_text_that_autogen_writes() -> None:
    message = Simple(text="hällo", key=UUID(int=1))
    _, _, payload = PayloadRegistry().encode(message, {})
    assert payload == message.model_dump_json().encode()


def test_model_that_reads_and_writes_a_field_in_its_own_way_still_does() -> None:
    message = OwnWay(encoded=base64.b64encode(b"\xff"), packed=base64.b85encode(b"\xfe").decode())
    assert message.packed == b"\xfe"
    received, _ = round_trip(message)
    assert received == message


def test_model_with_a_serializer_of_its_own_is_left_to_it() -> None:
    received, content_type = round_trip(Upside(figure=Square(side=3)))
    assert received == Upside(figure=Square(side=3))
    assert content_type == content_types.JSON


def test_excluded_field_stays_here() -> None:
    message = Secretive(name="n", password="geheim", figure=Square(side=1))
    _, _, payload = PayloadRegistry().encode(message, {})
    assert b"geheim" not in payload
    assert round_trip(message)[0].password == "none"


def test_tagged_json_is_the_plain_json_and_a_table_of_classes() -> None:
    message = Open(figure=Square(side=1), figures=[Square(side=2)], either=Point(x=3))
    _, _, payload = PayloadRegistry().encode(message, {})
    module = __name__
    assert json.loads(payload) == {
        "value": {
            "figure": {"side": 1},
            "figures": [{"side": 2}],
            "either": {"x": 3, "y": 0},
            "anything": None,
            "mood": "good",
        },
        "types": {
            "figure": f"{module}:Square",
            "figures": {"0": f"{module}:Square"},
            "either": f"{module}:Point",
            "mood": "builtins:str",
        },
    }


def test_tagged_value_still_passes_the_validation_of_its_class() -> None:
    registry = PayloadRegistry()
    registry.add_class(Open)
    payload = {
        "value": {"figure": {"side": "no number"}, "figures": [], "either": {"x": 1}},
        "types": {"figure": f"{__name__}:Square"},
    }
    with pytest.raises(SerializationError, match="side"):
        registry.decode("Open", content_types.TAGGED_JSON, json.dumps(payload).encode())


def test_class_that_is_none_of_the_declared_ones_is_refused() -> None:
    registry = PayloadRegistry()
    registry.add_class(Open)
    payload = {
        "value": {"figure": {"x": 1}, "figures": [], "either": {"x": 1}},
        "types": {"figure": f"{__name__}:Point"},
    }
    with pytest.raises(SerializationError, match=r"Point' is no loaded kind of .*Figure"):
        registry.decode("Open", content_types.TAGGED_JSON, json.dumps(payload).encode())


def test_class_of_another_module_with_the_same_name_is_found_below_the_declared_one() -> None:
    registry = PayloadRegistry()
    registry.add_class(Open)
    payload = {
        "value": {"figure": {"side": 5}, "figures": [], "either": {"x": 1}},
        "types": {"figure": "__main__:Square", "either": "elsewhere:Point"},
    }
    received = registry.decode("Open", content_types.TAGGED_JSON, json.dumps(payload).encode())
    assert received == Open(figure=Square(side=5), figures=[], either=Point(x=1))
