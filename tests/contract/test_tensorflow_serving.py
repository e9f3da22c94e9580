"""The predict API of TensorFlow Serving's REST documentation: its published examples, and the forms that it describes.

Its `:classify` and `:regress` are not offered.
"""

import pytest


@pytest.fixture(scope="module")
def server(serve):
    """A ready server of the documentation's model, `half_plus_three`."""
    return serve("half_plus_three").wait_until_ready()


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"instances": [1.0,2.0,5.0]}', {"predictions": [3.5, 4.0, 5.5]}),
        (b'{"signature_name": "serving_default", "instances": [1.0, 2.0, 5.0]}', {"predictions": [3.5, 4.0, 5.5]}),
        (b'{"inputs": [1.0, 2.0, 5.0]}', {"outputs": [3.5, 4.0, 5.5]}),
        (b'{"instances": [{"x": 1.0}, {"x": 2.0}]}', {"predictions": [3.5, 4.0]}),
        (b'{"inputs": {"x": [1.0, 2.0]}}', {"outputs": [3.5, 4.0]}),
    ],
)
def test_predict_as_curl_posts_it(server, body, answer):
    form = {"content-type": "application/x-www-form-urlencoded"}  # what `curl -d` says, whatever it posts
    assert server.predict(body, headers=form).json() == answer


def test_one_unnamed_column_is_typed_too(server):
    assert server.predict(b'{"instances": [1.0, "2"]}').json() == {
        "error": "row 1, column 'x': \"2\" is a string, expected a number"
    }
    assert server.predict(b'{"inputs": [null]}').json() == {
        "error": "row 0, column 'x': null is not a value of a required column"
    }


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_the_published_call_of_another_method_is_404_by_its_name(server, method):
    body = {"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}
    path = f"/v1/models/half_plus_three:{method}"
    answer = server.client.post(path, json=body)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith(f'no route "{path}"')


def test_a_missing_model_is_404_with_a_json_error(server):
    answer = server.client.get("/v1/models/saved_model_half_plus_two")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
