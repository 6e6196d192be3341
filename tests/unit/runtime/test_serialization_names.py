"""Type names: two classes of one name, and classes that are found because they are loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

import pytest
from autogen_core import UnknownPayload, try_get_known_serializers_for_type
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import CborSerializer, JsonSerializer
from zmqagents.runtime.codecs.content_types import CBOR, JSON
from zmqagents.runtime.serialization import PayloadRegistry

T = TypeVar("T")

NewModule = Callable[..., Any]


@dataclass
class Greeting:
    text: str


@dataclass
class Farewell:
    text: str


class Envelope(BaseModel, Generic[T]):
    content: T


class NotAMessage:
    pass


@pytest.fixture
def new_module(monkeypatch: pytest.MonkeyPatch) -> NewModule:
    """Puts a module with message classes of the given names among the loaded ones."""

    def make(name: str, *class_names: str) -> Any:
        module = ModuleType(name)
        for class_name in class_names:
            cls = make_dataclass(class_name, [("text", str)], namespace={"__module__": name})
            cls.__module__ = name
            setattr(module, class_name, cls)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


def test_class_registered_twice_is_one(new_module: NewModule) -> None:
    registry = PayloadRegistry()
    told: list[None] = []
    registry.on_change = lambda: told.append(None)
    for _ in range(2):
        registry.add_class(Greeting)
        registry.add(try_get_known_serializers_for_type(Greeting))
    assert registry.readable() == {"Greeting": (JSON,)}
    assert len(told) == 1


@pytest.mark.parametrize("how", ["add_class", "add", "encode"])
def test_two_classes_of_one_name_are_an_error_that_names_both(new_module: NewModule, how: str) -> None:
    one, two = new_module("shop", "Order").Order, new_module("bank", "Order").Order
    registry = PayloadRegistry()
    registry.add_class(one)
    actions: dict[str, Callable[[], object]] = {
        "add_class": lambda: registry.add_class(two),
        "add": lambda: registry.add(try_get_known_serializers_for_type(two)),
        "encode": lambda: registry.encode(two("x"), {}),
    }
    with pytest.raises(SerializationError, match=r"bank\.Order and shop\.Order.*rename one.*type_name="):
        actions[how]()
    assert registry.decode(*registry.encode(one("x"), {})) == one("x")


def test_two_definitions_of_one_local_class_are_an_error() -> None:
    def define() -> type[Any]:
        @dataclass
        class Local:
            text: str

        return Local

    registry = PayloadRegistry()
    registry.add_class(define())
    with pytest.raises(SerializationError, match=r"two definitions of .*Local"):
        registry.add_class(define())


def test_class_defined_anew_takes_the_place_of_the_former(new_module: NewModule) -> None:
    module = new_module("notebook", "Order")
    registry = PayloadRegistry()
    registry.add_class(module.Order)
    module.Order = make_dataclass("Order", [("number", int)], namespace={"__module__": "notebook"})
    module.Order.__module__ = "notebook"
    registry.add(try_get_known_serializers_for_type(module.Order))
    assert registry.decode(*registry.encode(module.Order(5), {})) == module.Order(5)


def test_explicit_type_name_keeps_two_classes_apart(new_module: NewModule) -> None:
    one, two = new_module("shop", "Order").Order, new_module("bank", "Order").Order
    registry = PayloadRegistry()
    registry.add(JsonSerializer(two, type_name="bank.Order"))
    registry.add_class(one)
    registry.add(try_get_known_serializers_for_type(two))  # as the registration of an agent does
    assert registry.encode(two("x"), {})[0] == "bank.Order"
    assert registry.readable() == {"Order": (JSON,), "bank.Order": (JSON,)}
    for message in (one("x"), two("y")):
        assert registry.decode(*registry.encode(message, {})) == message


def test_explicit_type_name_given_late_frees_the_default_one(new_module: NewModule) -> None:
    one, two = new_module("shop", "Order").Order, new_module("bank", "Order").Order
    registry = PayloadRegistry()
    registry.add_class(two)
    registry.add(JsonSerializer(two, type_name="bank.Order"))
    registry.add_class(one)
    assert registry.readable() == {"Order": (JSON,), "bank.Order": (JSON,)}
    for message in (one("x"), two("y")):
        assert registry.decode(*registry.encode(message, {})) == message


def test_other_serializers_of_a_renamed_class_go_under_its_name(new_module: NewModule) -> None:
    two = new_module("bank", "Order").Order
    registry = PayloadRegistry()
    registry.add(JsonSerializer(two, type_name="bank.Order"))
    registry.add(CborSerializer(two))
    assert registry.readable() == {"bank.Order": (CBOR, JSON)}


def test_explicit_type_name_that_another_class_has_is_refused() -> None:
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    with pytest.raises(SerializationError, match=r"Farewell and .*Greeting"):
        registry.add(JsonSerializer(Farewell, type_name="Greeting"))


def test_unregistered_class_is_found_in_a_module_of_this_processs_messages() -> None:
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    assert registry.decode("Farewell", JSON, b'{"text": "bye"}') == Farewell("bye")
    assert "Farewell" in registry.readable()


def test_unregistered_class_is_found_in_main(monkeypatch: pytest.MonkeyPatch) -> None:
    order = make_dataclass("MainOrder", [("text", str)], namespace={"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "MainOrder", order, raising=False)
    assert PayloadRegistry().decode("MainOrder", JSON, b'{"text": "x"}') == order("x")


def test_class_in_a_module_without_messages_of_this_process_is_not_found(new_module: NewModule) -> None:
    new_module("elsewhere", "Order")
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    assert registry.decode("Order", JSON, b"{}") == UnknownPayload("Order", JSON, b"{}")


def test_parametrized_model_is_found_below_its_generic_one() -> None:
    message = Envelope[Greeting](content=Greeting("x"))
    name, content_type, payload = PayloadRegistry().encode(message, {})
    assert name == "Envelope[Greeting]"
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    assert registry.decode(name, content_type, payload) == message


@pytest.mark.parametrize(
    "name",
    ["", "Nothing", "NotAMessage", "T", "pytest", "os.system", "__import__", "Greeting.", "Envelope[", "x" * 9999],
)
def test_name_of_no_message_class_gives_an_unknown_payload(name: str) -> None:
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    assert registry.decode(name, JSON, b"{}") == UnknownPayload(name, JSON, b"{}")


def test_content_type_that_nobody_added_gives_an_unknown_payload() -> None:
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    assert registry.decode("Greeting", CBOR, b"x") == UnknownPayload("Greeting", CBOR, b"x")
    assert registry.decode("Farewell", CBOR, b"x") == UnknownPayload("Farewell", CBOR, b"x")


def test_class_loaded_later_is_found_then(new_module: NewModule) -> None:
    module = new_module("growing", "First")
    registry = PayloadRegistry()
    registry.add_class(module.First)
    assert isinstance(registry.decode("Second", JSON, b'{"text": "x"}'), UnknownPayload)
    module.Second = make_dataclass("Second", [("text", str)], namespace={"__module__": "growing"})
    assert registry.decode("Second", JSON, b'{"text": "x"}') == module.Second("x")


def test_two_loaded_classes_of_one_name_are_an_error_that_names_both(new_module: NewModule) -> None:
    shop, bank = new_module("shop", "Order", "Item"), new_module("bank", "Order", "Account")
    registry = PayloadRegistry()
    registry.add_class(shop.Item)
    registry.add_class(bank.Account)
    with pytest.raises(SerializationError, match=r"bank\.Order and shop\.Order"):
        registry.decode("Order", JSON, b"{}")


def test_one_class_seen_in_two_modules_is_one(new_module: NewModule) -> None:
    shop, bank = new_module("shop", "Order", "Item"), new_module("bank", "Account")
    bank.Order = shop.Order
    registry = PayloadRegistry()
    registry.add_class(shop.Item)
    registry.add_class(bank.Account)
    assert registry.decode("Order", JSON, b'{"text": "x"}') == shop.Order("x")


def test_nothing_is_imported_because_of_a_payload() -> None:
    registry = PayloadRegistry()
    registry.add_class(Greeting)
    registry.add_class(Envelope[Any])
    tagged = b'{"value": {"content": 1}, "types": {"content": "antigravity:Nowhere"}}'
    loaded = set(sys.modules)
    unknown = registry.decode("antigravity.Nowhere", JSON, b"{}")
    with pytest.raises(SerializationError, match="'antigravity:Nowhere'"):
        registry.decode("Envelope[Any]", "application/vnd.zmqagents.tagged+json", tagged)
    assert isinstance(unknown, UnknownPayload)
    assert "antigravity" not in sys.modules
    assert set(sys.modules) == loaded


def test_class_found_by_a_payload_opens_no_further_module(new_module: NewModule) -> None:
    shop, library = new_module("shop", "Item"), new_module("library", "Shared", "Internal")
    shop.Shared = library.Shared
    registry = PayloadRegistry()
    registry.add_class(shop.Item)
    assert registry.decode("Shared", JSON, b'{"text": "x"}') == library.Shared("x")
    assert isinstance(registry.decode("Internal", JSON, b'{"text": "x"}'), UnknownPayload)
