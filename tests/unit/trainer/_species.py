"""A label of three classes, by two numbers and a category, for `test_multiclass.py`."""

from penstock_trainer import (
    Bucketized,
    Category,
    Cyclic,
    Hashed,
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

CLASSES = ("adelie", "gentoo", "chinstrap")

problem = Problem(
    name="species",
    columns={
        "seen": Timestamp(required=True),
        "hatched": Timestamp(parts=("month", "day_of_week", "hour")),
        "bill": Number(),
        "mass": Number(),
        "island": Category(),
        "species": Category(outcome=True),
    },
    label=Label("kind", of=lambda columns: columns["species"], head="multiclass", classes=CLASSES),
    split=TimeSplit("seen", validation="2024-07-01", test="2024-09-01"),
    features=[
        Scaled("bill"),
        Scaled("mass"),
        Vocabulary("island", dimension=2),
        Hashed("island", buckets=20_000),  # a table of which a step uses few rows
        Cyclic("hatched_month", period=12),
        Bucketized("hatched_hour", buckets=3, dimension=2),
        Missing("hatched_hour"),
        Bucketized("hatched_day_of_week", edges=(5.0,), dimension=2),
    ],
    model=wide_and_deep,
    hyperparameters={"hidden": "16", "dropout": 0.0, "learning_rate": 0.01, "batch_size": 64},
    slices=("island",),
)
