"""What a server received beside what its model was trained on: `python -m penstock_serving.skew --help`."""
