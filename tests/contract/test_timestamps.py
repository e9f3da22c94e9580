"""A model of timestamps, answered by its slim form: a client posts moments as the source system has them."""

import pytest

AT = "2013-06-01T12:30:00Z"


@pytest.fixture(scope="module")
def visits(serve):
    return serve("visits").wait_until_ready()


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"at": AT}, 12),
        ({"at": AT, "before": None}, 12),
        ({"at": AT, "before": ""}, 12),
        ({"at": "2013-06-01 12:59:59.999", "before": "1899-12-31"}, 11412),
        ({"at": "2013-12-31T23:30-02:00", "before": "2013-01-01T00:30+01"}, 201),
    ],
)
def test_a_row_is_answered_by_the_hours_and_years_of_its_moments_in_utc(visits, row, answer):
    assert visits.predict({"instances": [row]}).json()["predictions"] == [answer]
    columns = {name: [value, value] for name, value in row.items()}
    assert visits.predict({"inputs": columns}).json()["outputs"] == [answer, answer]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"at": "2013-02-30"}, "row 1, column 'at': \"2013-02-30\" is no moment in ISO 8601: day is out of range"),
        ({"at": "1 June"}, "is no moment in ISO 8601: it is not written as 2013-06-01, 2013-06-01T12:30:00Z"),
        ({"at": ""}, "is no moment in ISO 8601"),
        ({"at": "2013-06-01T12:30+25:00"}, "there is no such zone"),
        ({"at": AT, "before": "0001-01-01T00:00+01:00"}, "column 'before': \"0001-01-01T00:00+01:00\" is no moment"),
        ({"at": 1370000000}, "column 'at': 1370000000 is a number, expected a moment in ISO 8601, a string"),
        ({"at": None}, "null is not a value of a required column"),
        ({"before": AT}, "column 'at' is required and missing"),
    ],
)
def test_what_is_no_moment_is_refused_with_its_row_column_and_value(visits, row, said):
    answer = visits.predict({"instances": [{"at": AT}, row]})
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_the_document_the_sample_and_the_protocols_have_moments_as_text(visits):
    document = visits.client.get("/openapi.json").json()
    row = document["components"]["schemas"]["Row"]
    assert (row["properties"]["at"]["type"], row["properties"]["at"]["format"]) == ("string", "date-time")
    assert row["properties"]["before"]["type"] == ["string", "null"]
    assert visits.predict({"instances": row["examples"]}).json() == {"predictions": [112]}
    signature = visits.client.get("/v1/models/visits/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signature["serving_default"]["inputs"]["at"]["dtype"] == "DT_STRING"
    texts = {"at": [AT, AT], "before": ["2012-06-01", ""]}
    tensors = [{"name": n, "datatype": "BYTES", "shape": [2], "data": data} for n, data in texts.items()]
    answer = visits.client.post("/v2/models/visits/infer", json={"inputs": tensors})
    assert answer.json()["outputs"][0]["data"] == [112, 12]


def test_the_parts_are_what_skew_is_watched_in(visits):
    columns = visits.client.get("/v1/models/visits/skew").json()["columns"]
    assert set(columns) - {"predictions"} == {"at_hour", "at_day_of_week", "before_year"}
