"""Serves a sealed Penstock model behind TensorFlow Serving's REST interface: `python -m penstock_serving --help`."""
