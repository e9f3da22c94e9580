"""Moments: ISO 8601 text to a day and a second of it, and back; UTC, and of whole seconds.

Preprocessing reads moments by Arrow, the served graph by TensorFlow (`graph.moments`) and the server by `seconds`: of
one grammar, `PATTERN`. Part of the light core.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from penstock_trainer.examples import MISSING

CELLS = 2
DAY = 86_400
FIRST, LAST = -62_135_596_800, 253_402_300_799
"""The first second of the year 1 and the last of 9999, since 1970."""
PATTERN = (
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[ T](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?"
)
"""Groups: year, month, day, hour, minute, second, and of the zone: sign, hour, minute."""
_MOMENT = re.compile(PATTERN, re.ASCII)


def seconds(text: str) -> int:
    """Since 1970.

    Raises:
        ValueError: the text is no moment, or none of the years 1 to 9999.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("it is not written as 2013-06-01, 2013-06-01T12:30:00Z or 2013-06-01 12:30:00+02:00")
    year, month, day, hour, minute, second, sign, zone_hour, zone_minute = found.groups(default="0")
    away = timedelta(hours=int(zone_hour), minutes=int(zone_minute))
    if away >= timedelta(days=1) or zone_minute > "59":
        raise ValueError("there is no such zone")
    local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=timezone.utc)
    elapsed = local - datetime(1970, 1, 1, tzinfo=timezone.utc) + (away if sign == "-" else -away)
    moment = elapsed.days * DAY + elapsed.seconds
    if not FIRST <= moment <= LAST:
        raise ValueError("in UTC it is not within the years 1 to 9999")
    return moment


def text(moment: int) -> str:
    """Of seconds since 1970."""
    return f"{np.datetime64(moment, 's')}Z"


def cells(moments: Sequence[int | None]) -> NDArray[np.int32]:
    """Seconds since 1970 as the graph takes them: day number and second of the day, of shape [2, rows]; each is
    `MISSING` where there is none.
    """
    there = np.array([moment is not None for moment in moments], bool)
    found = np.array([0 if moment is None else moment for moment in moments], np.int64)
    return np.where(there, np.divmod(found, DAY), MISSING).astype(np.int32)


def from_cells(found: NDArray[np.int32]) -> list[int | None]:
    """Seconds since 1970 of what `cells` gives."""
    return [None if second == MISSING else day * DAY + second for day, second in zip(*found.tolist(), strict=True)]


def parts(found: NDArray[np.int32], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The parts of these names, of what `cells` gives: as `graph.parts_of` finds them, without TensorFlow; NaN where
    there is no moment.
    """
    number, second = found.astype(np.int64)
    date = number.astype("datetime64[D]")
    month, year = date.astype("datetime64[M]"), date.astype("datetime64[Y]")
    known = {
        "year": lambda: year.astype(np.int64) + 1970,
        "month": lambda: month.astype(np.int64) % 12 + 1,
        "day": lambda: (date - month).astype(np.int64) + 1,
        "day_of_week": lambda: (number + 3) % 7,
        "day_of_year": lambda: (date - year).astype(np.int64) + 1,
        "hour": lambda: second // 3600,
        "minute": lambda: second // 60 % 60,
        "second": lambda: second % 60,
        "day_number": lambda: number,
        "second_of_day": lambda: second,
    }
    return {name: np.where(second == MISSING, np.nan, known[name]()).astype(np.float32) for name in names}
