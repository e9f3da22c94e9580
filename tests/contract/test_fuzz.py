"""Whatever is posted, the server says what is wrong with it and lives."""

import json
import random
from typing import Any

ROW = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0, "temp": None}
BODIES = 2500
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, -1e39, 2**24, 2**24 + 1, 10**30, 10**400, "", "x" * 5000, "\x00",
    "é\U0001f600", "\ud800", [], [[]], [None], {}, {"": {}}, float("nan"), float("inf"), "NaN", "1",
]  # fmt: skip


def body(chance: random.Random) -> bytes:
    """A predict request, spoilt in one of many ways or in none."""
    rows: list[Any] = [dict(ROW) for _ in range(chance.randint(0, 4))]
    for row in rows:
        if chance.random() < 0.5:
            row[chance.choice([*ROW, "seats", "engine", "flight", "odd", "", "carrier "])] = chance.choice(ODD)
        if chance.random() < 0.1:
            del row[chance.choice(list(ROW))]
    request: Any = {"instances": rows}
    match chance.randint(0, 9):
        case 0:
            request = {"inputs": {name: [row.get(name) for row in rows] for name in ROW}}
        case 1:
            request[chance.choice(["inputs", "signature_name", "instances", "more"])] = chance.choice(ODD)
        case 2:
            request = chance.choice(ODD)
        case _:
            pass
    text = json.dumps(request).encode()
    match chance.randint(0, 5):
        case 0:
            return text[: chance.randint(0, len(text))]
        case 1:
            at = chance.randint(0, len(text))
            return (
                text[:at]
                + chance.choice([b"\x00", b"\xff", b"[" * 3000, b"]", b'"', b"1e400", b"-", b"\\u"])
                + text[at:]
            )
        case 2:
            return bytes(
                chance.choice([byte, chance.randint(0, 255)]) if chance.random() < 0.02 else byte for byte in text
            )
        case _:
            return text


def test_no_body_gets_a_5xx_and_every_refusal_says_why(flights):
    chance = random.Random(20131)
    codes: dict[int, int] = {}
    for _ in range(BODIES):
        posted = body(chance)
        answer = flights.predict(posted)
        codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 400), (posted, answer.text)
        assert answer.json().get("error") if answer.status_code == 400 else answer.json()
    assert min(codes.values()) > BODIES / 20, codes
    assert flights.predict({"instances": [ROW]}).status_code == 200
    assert "request failed" not in flights.log
