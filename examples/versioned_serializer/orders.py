"""The order as it is today, and a serializer that also reads the orders of programs that nobody has updated yet."""

from __future__ import annotations

import json
from dataclasses import dataclass

from autogen_core import JSON_DATA_CONTENT_TYPE, MessageSerializer


@dataclass
class Order:
    """Version 2 of the order: whole cents, and more than one piece."""

    item: str
    cents: int
    pieces: int


@dataclass
class Receipt:
    """The answer to an order. A plain dataclass, for which AutoGen has a serializer."""

    text: str


class OrderSerializer(MessageSerializer[Order]):
    """Writes version 2, reads versions 1 and 2."""

    VERSION = 2

    @property
    def type_name(self) -> str:
        """What the receiver finds this serializer by, together with the content type."""
        return "Order"

    @property
    def data_content_type(self) -> str:
        return JSON_DATA_CONTENT_TYPE

    def serialize(self, message: Order) -> bytes:
        fields = {"item": message.item, "cents": message.cents, "pieces": message.pieces}
        return json.dumps({"version": self.VERSION, "order": fields}).encode()

    def deserialize(self, payload: bytes) -> Order:
        data = json.loads(payload)
        version = data.get("version", 1)
        if version == 1:  # had no version in it, see old_shop.py
            return Order(data["item"], cents=round(data["euros"] * 100), pieces=1)
        if version == self.VERSION:
            return Order(**data["order"])
        raise ValueError(f"an order of version {version}, and this program reads 1 and {self.VERSION}: update it")
