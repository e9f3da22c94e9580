"""A problem of pictures and texts: whether a scanned digit, or the remark beside it, is of an odd number."""

import tensorflow as tf

from penstock_trainer import Image, Label, Number, Pixels, Problem, Text, TimeSplit, Timestamp, Tokens
from penstock_trainer.models import convolutional

problem = Problem(
    name="digits",
    columns={
        "scanned": Timestamp(required=True),
        "scan": Image(height=8, width=8, channels=1),
        "remark": Text(tokens=6),
        "digit": Number(outcome=True),
    },
    label=Label("odd", of=lambda columns: tf.cast(columns["digit"] % 2 == 1, tf.float32)),
    split=TimeSplit("scanned", validation="2013-08-01", test="2013-10-01"),
    features=[Pixels("scan"), Tokens("remark", minimum_count=2, dimension=4)],
    model=convolutional,
    hyperparameters={
        "grid": "8x8",
        "filters": "16,32",
        "hidden": 64,
        "dropout": 0.1,
        "learning_rate": 0.003,
        "batch_size": 32,
    },
)
