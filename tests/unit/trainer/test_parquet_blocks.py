import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock_trainer import csv_blocks
from penstock_trainer.errors import InputError
from penstock_trainer.parquet_blocks import check_file, pieces, read_piece
from penstock_trainer.problem import Category, Integer, Number, Text, Timestamp

COLUMNS = {"name": Category(required=True), "size": Number(), "count": Integer(), "when": Timestamp()}
MOMENT = datetime.datetime(2013, 1, 1, 5, tzinfo=datetime.timezone.utc)
GOOD = {"name": "oak", "size": 1.5, "count": 3, "when": MOMENT}


def write(path, rows, schema=None, group=None):
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group)
    return path


def read(path):
    rows, letters = [], []
    for piece in pieces(str(path)):
        for table, bad in read_piece(piece, COLUMNS):
            rows.extend(table.to_pylist())
            letters.extend(bad)
    return rows, letters


def test_row_groups_are_pieces_and_their_rows_come_as_a_csv_file_s_would(tmp_path):
    path = write(tmp_path / "a.parquet", [GOOD] * 10, group=3)
    assert [(piece.start, piece.line) for piece in pieces(str(path))] == [(0, 1), (1, 4), (2, 7), (3, 10)]
    assert read(path) == ([GOOD] * 10, [])


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"name": None}, "name", "required"),
        ({"size": float("inf")}, "size", "not a finite number"),
        ({"count": 3.5}, "count", "not an integer"),
        ({"count": 2.0**25}, "count", "beyond 16,777,216"),
    ],
)
def test_a_row_that_does_not_fit_is_a_dead_letter_with_its_row(tmp_path, change, column, reason):
    rows = [{**GOOD, "count": 3.0}, {**GOOD, "count": 3.0, **change}, {**GOOD, "count": 3.0}]
    found, letters = read(write(tmp_path / "a.parquet", rows))
    assert len(found) == 2
    assert [(letter.line, letter.column) for letter in letters] == [(2, column)]
    assert reason in letters[0].reason


def test_types_that_mean_the_same_are_taken(tmp_path):
    rows = [{"name": 7, "size": decimal.Decimal("1.5"), "count": True, "when": MOMENT.date()}]
    found, letters = read(write(tmp_path / "a.parquet", rows))
    assert letters == []
    assert found == [{"name": "7", "size": 1.5, "count": 1, "when": MOMENT.replace(hour=0)}]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("written", ["1969-12-31 23:59:59.500", "2013-01-01 05:00:00.999"])
def test_a_moment_is_cut_to_the_whole_second_that_a_csv_file_has(tmp_path, written, zone):
    moment = datetime.datetime.fromisoformat(written).replace(tzinfo=datetime.timezone.utc)
    schema = pa.schema([("name", pa.string()), ("size", pa.float64()), ("count", pa.int64())])
    schema = schema.append(pa.field("when", pa.timestamp("ms", zone)))
    given = moment if zone else moment.replace(tzinfo=None)
    path = write(tmp_path / "a.parquet", [{**GOOD, "when": given}, {**GOOD, "when": None}], schema)
    (tmp_path / "a.csv").write_text(f"name,size,count,when\noak,1.5,3,{written}\n")
    (piece,) = csv_blocks.pieces(str(tmp_path / "a.csv"))
    ((table, letters),) = csv_blocks.read_piece(piece, COLUMNS)
    assert letters == []
    assert [row["when"] for row in read(path)[0]] == [*table["when"].to_pylist(), None]


def test_a_moment_that_no_client_can_write_is_a_dead_letter(tmp_path):
    table = pa.table({name: [value] * 3 for name, value in GOOD.items() if name != "when"})
    moments = pa.array([253_402_300_800, 0, None], pa.timestamp("s"))
    pq.write_table(table.append_column("when", moments), tmp_path / "a.parquet")
    (piece,) = pieces(str(tmp_path / "a.parquet"))
    ((found, letters),) = read_piece(piece, COLUMNS)
    assert found.num_rows == 2
    assert [(letter.line, letter.column, letter.reason) for letter in letters] == [
        (1, "when", "not within the years 1 to 9999, in UTC")
    ]


@pytest.mark.parametrize("column", [Category(), Category(required=True), Text()])
@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_that_is_not_utf8_is_a_dead_letter_with_its_bytes(tmp_path, column, type_):
    words = ["oak", None, b"\xffsh", "", "\ufffd", b"b\xc3", "näher"]
    codes = pa.array(words, pa.binary()).dictionary_encode()
    texts = pa.DictionaryArray.from_arrays(codes.indices, codes.dictionary.cast(pa.string(), safe=False))
    table = pa.table({"name": texts.cast(type_), "size": [1.0] * 6 + [float("inf")]})
    pq.write_table(table, tmp_path / "a.parquet")
    columns = {"name": column, "size": Number()}
    (piece,) = pieces(str(tmp_path / "a.parquet"))
    ((found, letters),) = read_piece(piece, columns)
    strange = [(3, r"\xffsh"), (6, r"b\xc3")]
    assert [(x.line, x.value) for x in letters if x.reason == "not UTF-8 text"] == strange
    assert (letters[-1].column, letters[-1].value) == ("size", "inf")
    missing = [] if column.required else [None]
    assert found["name"].to_pylist() == ["oak", *missing, *missing, "\ufffd"]
    assert len(found) + len(letters) == len(words)


def test_a_nan_is_a_missing_value_as_data_frames_write_it(tmp_path):
    found, letters = read(write(tmp_path / "a.parquet", [{**GOOD, "size": float("nan")}]))
    assert (found[0]["size"], letters) == (None, [])


def test_a_file_without_a_row_has_no_pieces_and_is_not_refused(tmp_path):
    path = write(tmp_path / "a.parquet", [GOOD])
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    check_file(str(path), COLUMNS)
    assert read(path) == ([], [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**GOOD, "size": "tall"}, "column 'size' is declared a number, but .* has it as string"),
        ({**GOOD, "when": "2013"}, "column 'when' is declared a timestamp, but .* has it as string"),
        ({"nam": "oak", "size": 1.0, "count": 1, "when": MOMENT}, "did you mean 'nam'"),
    ],
)
def test_a_file_of_another_schema_is_refused_by_its_header(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        check_file(str(write(tmp_path / "a.parquet", [row])), COLUMNS)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("a,b\n")
    with pytest.raises(InputError, match="no Parquet file"):
        check_file(str(tmp_path / "a.parquet"), COLUMNS)
