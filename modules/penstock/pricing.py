"""What a deployment costs, from rows of things, hours and prices: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class Price:
    """A price in US dollars, and whence it is known."""

    usd: float
    unit: str
    """`hour` of one, `GiB-month`, or what is paid once: `GiB`, `million`."""
    recorded: str
    """Date, ISO 8601."""
    source: str
    low: float = 1.0
    """What may be paid in the best case, as a share of the price: Spot machines vary."""

    @property
    def timed(self) -> bool:
        """Whether it is paid by time."""
        return self.unit in ("hour", "GiB-month")

    @property
    def each(self) -> float:
        """US dollars for one of it: for an hour, where it is paid by time."""
        return self.usd / HOURS_PER_MONTH if self.unit == "GiB-month" else self.usd


@dataclass(frozen=True)
class Row:
    """Something that costs: how much of it when nothing happens, at the peak, and in one run. None of all three: it is
    paid by use, and nothing is known of how much that is.
    """

    what: str
    price: Price | None
    """None: no price is recorded."""
    idle: float = 0.0
    peak: float = 0.0
    run: float = 0.0
    """What one run takes, all together: hours of one of it, or how many where it is paid once."""
    of: tuple[str, ...] = ()
    """Types of the resources that it is paid for."""

    @property
    def counted(self) -> bool:
        """Whether it is in the totals, as far as there is a price."""
        return bool(self.idle or self.peak or self.run)


def estimate(rows: Sequence[Row], note: str) -> dict[str, Any]:
    """US dollars an hour idle and at the peak, and for one run, each as [low, high], with the rows behind them."""
    totals = {
        "usd_per_hour_idle": _range([(row.idle, row.price) for row in rows]),
        "usd_per_hour_peak": _range([(row.peak, row.price) for row in rows]),
        "usd_per_run": _range([(row.run, row.price) for row in rows]),
    }
    missing = sorted({row.what for row in rows if row.counted and row.price is None})
    dates = sorted({row.price.recorded for row in rows if row.price})
    return {
        **totals,
        "usd_per_month_idle": [round(bound * HOURS_PER_MONTH, 2) for bound in totals["usd_per_hour_idle"]],
        "rows": [_described(row) for row in rows],
        "without_a_price": missing,
        "prices_recorded": dates,
        "note": note,
    }


def told(estimated: Mapping[str, Any]) -> str:
    """An estimate for people: idle, at the peak and for one run, each with its range, and the rows behind them."""
    totals = {"idle": "usd_per_hour_idle", "peak": "usd_per_hour_peak", "a run": "usd_per_run"}
    ranges = [f"{name} {estimated[key][0]:.2f} to {estimated[key][1]:.2f}" for name, key in totals.items()]
    missing = [f"not counted, no price known: {each}" for each in estimated["without_a_price"]]
    recorded = f"prices recorded {', '.join(estimated['prices_recorded'])}"
    head = f"price in USD, an hour {ranges[0]}, {ranges[1]}; {ranges[2]}; {recorded}"
    return "\n".join([head, *(f"  {row}" for row in (*estimated["rows"], *missing, estimated["note"]))])


def overridden(prices: Mapping[str, Price], own: Mapping[str, float]) -> dict[str, Price]:
    """The prices with one's own in their place, which are then exact."""
    changed = {
        name: Price(usd, prices[name].unit if name in prices else "hour", "yours", "the stack's settings")
        for name, usd in own.items()
    }
    return {**prices, **changed}


def _range(amounts: Sequence[tuple[float, Price | None]]) -> list[float]:
    high = sum(amount * price.each for amount, price in amounts if price)
    low = sum(amount * price.each * price.low for amount, price in amounts if price)
    return [round(low, 4), round(high, 4)]


def _described(row: Row) -> str:
    price = "no price known"
    if row.price:
        low = f"{_usd(row.price.usd * row.price.low)} to " if row.price.low < 1 else ""
        price = f"{low}{_usd(row.price.usd)} USD/{row.price.unit}"
    if not row.counted:
        return f"{row.what}: by use, not counted, {price}"
    hours = " h" if row.price is None or row.price.timed else ""
    return f"{row.what}: {row.idle:g} idle, {row.peak:g} peak, {row.run:g}{hours} a run, {price}"


def _usd(amount: float) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".")
