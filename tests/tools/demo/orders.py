"""The orders that the demo loads: generated, and the same every time.

`python -m tests.tools.demo.orders` regenerates `orders.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import simplejson

FILE = Path(__file__).parent / "orders.jsonl"
ROWS = 1_050

_FIRST_ORDER = datetime(2026, 11, 2, 6, 0, tzinfo=timezone.utc)
_BUYERS = (
    ("Zoë Müller", "Köln", "DE", "EUR"),
    ("Łukasz Żółkiewski", "Kraków", "PL", "PLN"),
    ("Søren Ågård", "Århus", "DK", "DKK"),
    ("François Lefèvre", "Besançon", "FR", "EUR"),
    ("María José Núñez", "A Coruña", "ES", "EUR"),
    ("山田 花子", "大阪市", "JP", "JPY"),
    ("Παναγιώτης Νικολάου", "Θεσσαλονίκη", "GR", "EUR"),
    ("Олена Ковальчук", "Київ", "UA", "UAH"),
    ("नीलम शर्मा", "पुणे", "IN", "INR"),
    ("Siân O'Brien", "Caerdydd", "GB", "GBP"),
)
_GOODS = (
    ("TEA-100", "Green tea, loose, 100 g", "4.90"),
    ("CUP-020", "Stoneware cup “Morgen”", "12.50"),
    ("FLT-080", "Paper filters, 80 pieces", "1.10"),
    ("KTL-001", "Gooseneck kettle, 0.9 l", "74.00"),
    ("HNY-250", "Lime blossom honey, 250 g", "6.25"),
    ("SCL-003", "Kitchen scale, 0.1 g", "29.95"),
)
_NOTES = (None, None, None, "Please leave it at the door.", "Geschenk, bitte einpacken 🎁")


def orders(*, first: int = 1, count: int = ROWS) -> Iterator[dict[str, Any]]:
    """Generate `count` orders, numbered from `first`; amounts have two decimal places."""
    for number in range(first, first + count):
        chance = Random(number)  # noqa: S311 - reproducible, not a secret
        name, city, country, currency = chance.choice(_BUYERS)
        placed = _FIRST_ORDER + timedelta(minutes=29 * number, seconds=chance.randrange(60))
        lines: list[dict[str, Any]] = [
            {
                "sku": sku,
                "title": title,
                "quantity": chance.randint(1, 4),
                "unit_price": Decimal(price),
            }
            for sku, title, price in chance.sample(_GOODS, chance.randint(1, 3))
        ]
        total = sum((line["unit_price"] * line["quantity"] for line in lines), Decimal(0))
        yield {
            "order_id": f"ORD-{number:06}",
            "placed_at": placed.isoformat().replace("+00:00", "Z"),
            "ship_on": (placed + timedelta(days=chance.randint(1, 5))).date().isoformat(),
            "customer": {"name": name, "city": city, "country": country},
            "currency": currency,
            "lines": lines,
            "total": total,
            "note": chance.choice(_NOTES),
        }


def to_json(order: dict[str, Any]) -> str:
    """Encode an order as one line of JSON that keeps every digit: 1.10 stays 1.10."""
    return simplejson.dumps(order, ensure_ascii=False, use_decimal=True)


if __name__ == "__main__":
    FILE.write_text("".join(f"{to_json(order)}\n" for order in orders()), encoding="utf-8")
