"""Dataclasses through the registry: what comes out is equal, of the same classes, and plain JSON where that does."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import uuid
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import pytest
from autogen_core import Image
from PIL import Image as PILImage
from pydantic import BaseModel, JsonValue
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypeAliasType

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.serialization import PayloadRegistry

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    PAIR = (1, 2)
    OTHER = 1.5


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Address(BaseModel):
    street: str
    since: dt.date


class Size(NamedTuple):
    width: int
    height: int


class Options(TypedDict):
    depth: int
    label: str


@dataclass
class Flat:
    text: str
    count: int = 0
    ratio: float = 0.5
    done: bool = False
    note: str | None = None


@dataclass
class Child:
    name: str


@dataclass
class GrandChild(Child):
    toys: list[str] = field(default_factory=list)


@dataclass
class Pet:
    name: str
    legs: int = 4


@dataclass
class Family:
    eldest: Child
    children: list[Child]
    by_name: dict[str, Child] = field(default_factory=dict)
    maybe: Child | None = None
    pair: tuple[Child, int] | None = None


@dataclass
class Household:
    member: Child | Pet
    members: list[Child | Pet] = field(default_factory=list)
    label: int | str | None = None
    head: Child | None = None


@dataclass
class Standard:
    when: dt.datetime
    day: dt.date
    time: dt.time
    span: dt.timedelta
    key: uuid.UUID
    price: Decimal
    raw: bytes
    colour: Colour
    level: Level
    kind: Literal["a", "b"] = "a"


@dataclass
class Collections:
    numbers: tuple[int, ...] = ()
    names: set[str] = field(default_factory=set)
    frozen: frozenset[int] = frozenset()
    by_number: dict[int, str] = field(default_factory=dict)
    sequence: Sequence[int] = ()
    mapping: Mapping[str, int] = field(default_factory=dict)
    by_pair: dict[tuple[int, int], str] = field(default_factory=dict)
    by_colour: dict[Colour, int] = field(default_factory=dict)
    ordered: OrderedDict[str, int] = field(default_factory=OrderedDict)


@dataclass
class Loose:
    anything: Any
    things: list[Any] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)
    untyped: dict = field(default_factory=dict)  # type: ignore[type-arg]


@dataclass
class Mixed:
    address: Address
    others: list[Address]
    image_size: Size
    options: Options
    path: PurePosixPath


@dataclass
class Ambiguous:
    key: uuid.UUID | str
    when: dt.datetime | dt.date | str
    raw: bytes | str
    colour: Colour | str
    items: list[int] | list[Child]
    container: tuple[int, ...] | list[int] | dict[str, int] | int


@dataclass
class Exotic:
    odd: Odd
    right: Right


class Figure(ABC):
    @abstractmethod
    def area(self) -> float: ...


@dataclass
class Square(Figure):
    side: int

    def area(self) -> float:
        return self.side**2


@dataclass
class Drawing:
    figure: Figure
    figures: list[Figure]


@dataclass
class Tree:
    value: int
    branches: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Boxes:
    numbers: Box[int]
    child: Box[Child]


@dataclass
class Late:
    text: str
    sequence: int = field(init=False, default=0)
    hidden: InitVar[int] = 3


@dataclass(frozen=True, kw_only=True)
class Frozen:
    text: str
    stamp: int = field(init=False, default=0)
    owner: Child | Pet = field(default_factory=lambda: Child("nobody"))


@dataclass
class NeedsInitVar:
    text: str
    secret: InitVar[str]


@dataclass
class SaysStrMeansNone:
    content: str = None  # type: ignore[assignment]
    children: list[Child] = None  # type: ignore[assignment]


@dataclass(slots=True)
class Slotted:
    text: str
    child: Child


@pydantic_dataclass
class Validated:
    count: int
    child: Child


Number = NewType("Number", int)
Word = TypeVar("Word", int, str)
Parts = TypeAliasType("Parts", list[Child | Pet] | None)
Endless = TypeAliasType("Endless", "dict[str, Endless] | int")


@dataclass
class Aliases(Generic[Word]):
    number: Number
    word: Word
    json: JsonValue
    parts: Annotated[Parts, "documented"] = None
    endless: Endless = 0


@dataclass
class WithFloats:
    one: float
    many: list[float]
    by_name: dict[str, float] = field(default_factory=dict)


def round_trip(message: Any) -> tuple[Any, str]:
    """The message at another process, and the content type it travelled as."""
    name, content_type, payload = PayloadRegistry().encode(message, {})
    receiver = PayloadRegistry()
    receiver.add_class(type(message))
    return receiver.decode(name, content_type, payload), content_type


STANDARD = Standard(
    when=dt.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=dt.timezone.utc),
    day=dt.date(2026, 2, 3),
    time=dt.time(4, 5, 6, 7),
    span=dt.timedelta(days=-3, microseconds=1),
    key=uuid.UUID(int=5),
    price=Decimal("1.10"),
    raw=b"\xff\x00",
    colour=Colour.GREEN,
    level=Level.HIGH,
    kind="b",
)
ADDRESS = Address(street="s", since=dt.date(2026, 2, 3))

PLAIN = [
    Flat("hällo", 3, 1.5, True, "x"),
    Flat(""),
    Family(Child("a"), [Child("b"), Child("c")], {"d": Child("d")}, Child("e"), (Child("f"), 3)),
    STANDARD,
    Collections((1, 2), {"a"}, frozenset({3}), {4: "four"}, [1, 2]),
    Loose({"a": [1, None, {"b": 1.5}]}, [1, "x"], {"k": True}, {"k": [2]}),
    Tree(1, [Tree(2, [Tree(3)]), Tree(4)]),
    SaysStrMeansNone(),
    SaysStrMeansNone("x", [Child("a")]),
    Slotted("a", Child("b")),
    Validated(1, Child("a")),
    Late("x"),
    WithFloats(1.5, [2.5], {"a": 3.5}),
    Aliases(Number(1), 2, {"a": [1]}),
    Mixed(
        Address(street="s", since=dt.date(2026, 1, 1)), [], Size(1, 2), {"depth": 1, "label": "l"}, PurePosixPath("/a")
    ),
]

TAGGED = [
    Family(GrandChild("a", ["ball"]), [Child("b"), GrandChild("c")], {"d": GrandChild("d", [])}),
    Household(Pet("rex"), [Child("a"), Pet("b"), GrandChild("c", ["x"])], "label", GrandChild("d")),
    Collections(sequence=(1, 2), by_pair={(1, 2): "x"}, by_colour={Colour.RED: 3}),
    Loose(
        (1, [b"\xff", {2, 3}]),
        [dt.datetime(2026, 1, 1), STANDARD.key, STANDARD.price, Child("known")],  # noqa: DTZ001
        {"tuple": (1, (2,)), "pairs": {1: "x"}, "inf": math.inf},
        {1: {2: 3}},
    ),
    Ambiguous(uuid.UUID(int=1), dt.date(2026, 1, 1), b"\xfe", Colour.RED, [Child("c"), GrandChild("a")], (1, 2)),
    Ambiguous(str(uuid.UUID(int=1)), "2026-01-01", "text", "red", [1, 2], {"a": 1}),
    Ambiguous("x", dt.datetime(2026, 1, 1), b"", Colour.GREEN, [], 5),  # noqa: DTZ001
    Exotic(Odd.PAIR, Right.READ | Right.WRITE),
    Drawing(Square(2), [Square(3)]),
    Boxes(Box(1), Box(Child("in a box"))),
    Frozen(text="x", owner=Pet("p")),
    Aliases(Number(1), "x", None, [Pet("p"), Child("c")], {"a": {"b": 1}}),
    WithFloats(-math.inf, [1.0, math.inf], {"a": math.inf}),
]


@pytest.mark.parametrize("message", PLAIN, ids=lambda message: type(message).__name__)
def test_dataclass_travels_as_plain_json_when_that_loses_nothing(message: Any) -> None:
    received, content_type = round_trip(message)
    assert received == message
    assert content_type == content_types.JSON


@pytest.mark.parametrize("message", TAGGED, ids=lambda message: type(message).__name__)
def test_dataclass_keeps_its_classes_when_the_annotations_leave_them_open(message: Any) -> None:
    received, content_type = round_trip(message)
    assert received == message
    assert repr(received) == repr(message)  # the classes inside too: GrandChild is not Child, (1,) is not [1]
    assert content_type == content_types.TAGGED_JSON


def test_flat_dataclass_is_written_as_the_json_object_that_autogen_writes() -> None:
    message = Flat("hällo", 3, 1.5, True, "x")
    _, content_type, payload = PayloadRegistry().encode(message, {})
    assert content_type == "application/json"
    assert json.loads(payload) == {"text": "hällo", "count": 3, "ratio": 1.5, "done": True, "note": "x"}


def test_flat_dataclass_reads_the_json_that_autogen_writes() -> None:
    registry = PayloadRegistry()
    registry.add_class(Flat)
    payload = json.dumps({"text": "\u00e4", "count": 1, "ratio": 2}).encode()
    assert registry.decode("Flat", "application/json", payload) == Flat("ä", 1, 2.0)


def test_nan_arrives_as_nan() -> None:
    received, _ = round_trip(WithFloats(math.nan, [math.nan]))
    assert math.isnan(received.one)
    assert math.isnan(received.many[0])


def test_field_outside_init_keeps_the_value_it_was_sent_with() -> None:
    late = Late("x")
    late.sequence = 7
    assert round_trip(late)[0].sequence == 7
    frozen = Frozen(text="x")
    object.__setattr__(frozen, "stamp", 9)
    assert round_trip(frozen)[0].stamp == 9


def test_pydantic_dataclass_is_validated_when_it_is_read() -> None:
    registry = PayloadRegistry()
    registry.add_class(Validated)
    with pytest.raises(SerializationError, match="Validated"):
        registry.decode("Validated", "application/json", b'{"count": "many", "child": {"name": "a"}}')


def test_class_that_needs_an_initvar_is_refused_when_it_is_sent() -> None:
    with pytest.raises(SerializationError, match=r"NeedsInitVar.*secret"):
        PayloadRegistry().encode(NeedsInitVar("x", "y"), {})


def test_value_that_contradicts_its_annotation_is_refused_when_it_is_sent() -> None:
    with pytest.raises(SerializationError, match=r"children\.\[1\]: declared .*Child, holds .*Pet"):
        PayloadRegistry().encode(Family(Child("a"), [Child("b"), Pet("c")]), {})  # type: ignore[list-item]


def test_object_that_is_no_data_is_refused_with_its_place_when_it_is_sent() -> None:
    with pytest.raises(SerializationError, match=r"table\.\['x'\]: holds object"):
        PayloadRegistry().encode(Loose(1, table={"x": object()}), {})


def test_receiver_that_reads_only_plain_json_gets_it_when_that_loses_a_class() -> None:
    name, content_type, payload = PayloadRegistry().encode(
        Household(Pet("rex", 3)), {"Household": ["application/json"]}
    )
    assert (name, content_type) == ("Household", "application/json")
    assert json.loads(payload)["member"] == {"name": "rex", "legs": 3}


def test_union_of_dataclasses_is_read_from_plain_json_by_its_fields() -> None:
    registry = PayloadRegistry()
    registry.add_class(Household)
    payload = b'{"member": {"name": "rex", "legs": 3}, "members": [{"name": "rex", "legs": 4}]}'
    assert registry.decode("Household", "application/json", payload) == Household(Pet("rex", 3), [Pet("rex", 4)])


def test_image_in_a_dataclass_keeps_its_pixels() -> None:
    @dataclass
    class Picture:
        image: Image
        parts: list[str | Image]

    image = Image(PILImage.new("RGB", (2, 2), (1, 2, 3)))
    received, _ = round_trip(Picture(image, ["a", image]))
    assert received.image.image.tobytes() == image.image.tobytes()
    assert received.parts[0] == "a"
    assert isinstance(received.parts[1], Image)


def test_local_classes_with_postponed_annotations_keep_their_classes() -> None:
    @dataclass
    class Inner:
        number: int

    @dataclass
    class Outer:
        inner: Inner
        inners: list[Inner]

    message = Outer(Inner(1), [Inner(2)])
    assert round_trip(message)[0] == message
