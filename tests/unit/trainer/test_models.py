import numpy as np
import pytest
import tf_keras as keras

from penstock_trainer import convolutional, linear
from penstock_trainer.errors import InputError
from penstock_trainer.featurizer import InputSpec
from penstock_trainer.models import inputs_for

SPECS = {**{f"n{i}": InputSpec() for i in range(6)}, "kind": InputSpec(ids=5, dimension=3)}
ROWS = {**{f"n{i}": np.full([4, 1], i, np.float32) for i in range(6)}, "kind": np.array([0, 1, 2, 4], np.int32)}
PIXELS = {"grid": "2x3", "filters": "4,8", "hidden": 16, "dropout": 0.1}


def built(model, parameters, specs=SPECS):
    inputs = inputs_for(specs)
    return keras.Model(inputs, model(inputs, specs, parameters))


def test_a_linear_model_is_the_sum_of_a_weight_for_every_number_and_id():
    model = built(linear, {})
    table, kernel, bias = np.arange(5.0).reshape(5, 1), np.arange(6.0).reshape(6, 1) + 1, np.array([0.5])
    model.set_weights(sorted([table, kernel, bias], key=lambda w: [v.shape for v in model.weights].index(w.shape)))
    expected = sum(i * (i + 1) for i in range(6)) + 0.5 + ROWS["kind"]
    assert model(ROWS).numpy().squeeze(1) == pytest.approx(expected)


def test_a_convolution_sees_numbers_as_neighbours_in_the_problems_order():
    model = built(convolutional, PIXELS)
    (grid,) = [layer.output_shape for layer in model.layers if isinstance(layer, keras.layers.Reshape)]
    assert grid == (None, 2, 3, 1)
    assert model(ROWS).shape == (4, 1)
    without_ids = built(convolutional, PIXELS, {name: spec for name, spec in SPECS.items() if name != "kind"})
    assert without_ids({name: values for name, values in ROWS.items() if name != "kind"}).shape == (4, 1)


@pytest.mark.parametrize("grid", ["2x2", "6", "ax3"])
def test_a_grid_that_the_numbers_do_not_fill_is_refused(grid):
    with pytest.raises(InputError, match=rf"'grid' is '{grid}'; the features have 6 numbers to fill it"):
        built(convolutional, {**PIXELS, "grid": grid})
