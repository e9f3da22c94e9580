"""Birds' mass, as a value or as a class, by a linear model, for `test_linear.py`."""

from penstock_trainer import (
    Category,
    Label,
    Number,
    Problem,
    Scaled,
    TimeSplit,
    Timestamp,
    Vocabulary,
    linear,
)

problem = Problem(
    name="heavy",
    columns={
        "seen": Timestamp(required=True),
        "bill": Number(),
        "mass": Number(outcome=True),
        "island": Category(),
    },
    label=Label("mass_", of=lambda columns: columns["mass"], head="regression"),
    split=TimeSplit("seen", validation="2024-07-01", test="2024-09-01"),
    features=[Scaled("bill"), Vocabulary("island")],
    model=linear,
    hyperparameters={"learning_rate": 0.05, "batch_size": 64},
)
