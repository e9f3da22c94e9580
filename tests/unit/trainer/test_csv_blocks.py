import csv
import gzip
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_trainer import csv_blocks
from penstock_trainer.csv_blocks import check_file, pieces, read_piece
from penstock_trainer.errors import InputError
from penstock_trainer.problem import Category, Integer, Number, Text, Timestamp

COLUMNS = {"name": Category(), "size": Number(), "count": Integer(), "when": Timestamp()}
HEADER = "when,name,other,size,count\n"
GOOD = "2013-01-01T05:00:00Z,oak,x,1.5,3\n"


def read_all(path, columns, header=()):
    return [batch for piece in pieces(str(path), header) for batch in read_piece(piece, columns, header)]


def read(path, text, columns=COLUMNS):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    tables, letters = [], []
    for table, bad in read_all(path, columns):
        tables.extend(table.to_pylist())
        letters.extend(bad)
    return tables, letters


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("row", "column", "value", "reason"),
    [
        ("2013-01-01T05:00:00Z,oak,x,1.5\n", None, "2013-01-01T05:00:00Z,oak,x,1.5", "4 fields where the header has 5"),
        ("2013-01-01T05:00:00Z,oak,x,tall,3\n", "size", "tall", "not a number"),
        ("2013-01-01T05:00:00Z,oak,x,inf,3\n", "size", "inf", "not a finite number"),
        ("2013-01-01T05:00:00Z,oak,x,1.5,3.5\n", "count", "3.5", "not an integer"),
        ("2013-01-01T05:00:00Z,oak,x,1.5,16777217\n", "count", "16777217", "beyond 16,777,216"),
        ("2013-02-30T05:00:00Z,oak,x,1.5,3\n", "when", "2013-02-30T05:00:00Z", "not a timestamp"),
        ("0000-12-31,oak,x,1.5,3\n", "when", "0000-12-31", "not within the years 1 to 9999"),
    ],
)
def test_a_malformed_row_is_a_dead_letter_with_its_line_and_the_others_are_kept(file, row, column, value, reason):
    rows, letters = read(file, HEADER + GOOD + row + GOOD)
    assert len(rows) == 2
    assert [(x.line, x.column, x.value) for x in letters] == [(3, column, value)]
    assert reason in letters[0].reason


def test_lines_are_counted_across_blocks_and_quoted_line_breaks(file, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    quoted = '2013-01-01T05:00:00Z,"two\nlines",x,1.5,3\n'
    rows, letters = read(file, HEADER + GOOD * 5 + quoted * 3 + "bad\n" + GOOD * 4)
    assert len(rows) == 12
    assert rows[5]["name"] == "two\nlines"
    assert [x.line for x in letters] == [1 + 5 + 6 + 1]


def test_a_large_file_is_cut_into_pieces_that_together_are_the_file(file, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    monkeypatch.setattr(csv_blocks, "PIECE_BYTES", 200)
    records = [f'2013-01-01T05:00:00Z,"tree\n{n}, ""tall""",x,{n}.5,{n}\n' for n in range(100)]
    file.write_text(HEADER + "".join(records[:50]) + "bad\n" + "".join(records[50:]))
    cut = list(pieces(str(file)))
    assert len(cut) > 10
    assert [piece.start for piece in cut[1:]] == [piece.end for piece in cut[:-1]]
    batches = [batch for piece in reversed(cut) for batch in read_piece(piece, COLUMNS)]
    assert sorted(count for table, _ in batches for count in table["count"].to_pylist()) == list(range(100))
    assert [letter.line for _, bad in batches for letter in bad] == [2 + 2 * 50]


def test_bytes_that_are_not_utf8_are_a_dead_letter(file):
    rows, letters = read(file, (HEADER + GOOD).encode() + b"2013-01-01T05:00:00Z,\xff\xfe,x,1.5,3\n")
    assert len(rows) == 1
    assert [(x.line, x.column) for x in letters] == [(3, "name")]


def test_a_header_that_is_not_utf8_is_refused(file):
    file.write_bytes(HEADER.encode().replace(b"name", b"na\xefve") + GOOD.encode())
    with pytest.raises(InputError, match=r"a\.csv: the header is not UTF-8 text"):
        check_file(str(file), COLUMNS)


def test_a_file_that_begins_with_a_byte_order_mark_is_read_as_one_without(file):
    text = HEADER + GOOD + "bad\n" + GOOD
    without = read(file, text)
    assert [letter.line for letter in without[1]] == [3]
    assert read(file, text.encode("utf-8-sig")) == without
    check_file(str(file), COLUMNS)


def test_a_text_is_all_that_stands_between_its_quotes(file):
    rows, letters = read(file, 'said,size\n"Well, ""said"" he:\nné",1\n,2\nNA,3\n" two  spaces ",4\n', {"said": Text()})
    assert [row["said"] for row in rows] == ['Well, "said" he:\nné', None, None, " two  spaces "]
    assert letters == []


def test_bytes_that_are_not_utf8_in_a_column_nobody_declared_disturb_nothing_beside_a_dead_letter(file):
    other = GOOD.encode().replace(b",x,", b",\xff,")
    rows, letters = read(file, HEADER.encode() + other + b"bad\n" + b"\xff\n" + other)
    assert len(rows) == 2
    assert [(x.line, x.value) for x in letters] == [(3, "bad"), (4, r"\udcff")]


def test_a_field_of_any_length_may_stand_beside_a_dead_letter(file):
    long = GOOD.replace("oak", "o" * 200_000)
    rows, letters = read(file, HEADER + long + "bad\n")
    assert ([len(row["name"]) for row in rows], len(letters)) == ([200_000], 1)


def test_a_type_that_changes_in_the_middle_of_a_file_makes_dead_letters_of_the_rest(file, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 256)
    rows, letters = read(file, HEADER + GOOD * 20 + GOOD.replace("1.5", "tall") * 20)
    assert [x.line for x in letters] == list(range(22, 42))
    assert {(x.column, x.reason) for x in letters} == {("size", "not a number")}
    assert [row["size"] for row in rows] == [1.5] * 20


@pytest.mark.parametrize(
    "written",
    [
        "2013-01-01T05:00:00.250Z",
        "2013-01-01T05:00:00.000000+00:00",
        "2013-01-01 07:00:00,999+02",
        "2013-01-01T07:00:00+0200",
        "2013-01-01 05:00:00.5",
        "2013-01-01T05:00",
    ],
)
def test_moments_are_read_as_systems_write_them_and_cut_to_whole_seconds(file, written):
    rows, letters = read(file, HEADER + GOOD + GOOD.replace("2013-01-01T05:00:00Z", f'"{written}"'))
    assert letters == []
    assert rows[1]["when"] == rows[0]["when"]


def test_moments_of_all_spellings_may_stand_in_one_block_with_one_that_is_none(file):
    spelt = ["2013-01-01T05:00:00.250Z", "2013-01-01", "2013-01-01T07:00:00+02", "2013-13-01T05:00:00.250Z"]
    rows, letters = read(file, HEADER + "".join(GOOD.replace("2013-01-01T05:00:00Z", each) for each in spelt))
    assert [row["when"].hour for row in rows] == [5, 0, 5]
    assert [(x.line, x.reason) for x in letters] == [(5, "not a timestamp")]


def test_a_value_that_is_required_and_missing_is_a_dead_letter(file):
    columns = {**COLUMNS, "name": Category(required=True)}
    rows, letters = read(file, HEADER + GOOD + "2013-01-01T05:00:00Z,NA,x,1.5,3\n", columns)
    assert len(rows) == 1
    assert "required" in letters[0].reason


def test_missing_values_are_null_and_a_moment_without_a_zone_is_utc(file):
    rows, letters = read(file, HEADER + "2013-01-01 05:00:00,NA,,NaN,\n" + GOOD)
    assert letters == []
    assert rows[0] == {"name": None, "size": None, "count": None, "when": rows[1]["when"]}


def test_a_gzipped_file_without_a_last_line_break_reads_the_same(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((HEADER + GOOD + GOOD.strip()).encode()))
    assert sum(table.num_rows for table, _ in read_all(path, COLUMNS)) == 2


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-9], lambda packed: packed[:40] + b"\0" * 40, lambda _: b"x"]
)
def test_a_gzipped_file_that_is_damaged_is_named(tmp_path, damage):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(damage(gzip.compress((HEADER + GOOD * 2000).encode(), mtime=0)))
    with pytest.raises(InputError, match=r"a\.csv\.gz cannot be unpacked"):
        read_all(path, COLUMNS)


def test_a_gzipped_file_without_a_byte_is_empty(tmp_path):
    (tmp_path / "a.csv.gz").touch()
    with pytest.raises(InputError, match="is empty"):
        check_file(str(tmp_path / "a.csv.gz"), COLUMNS)


def test_a_column_the_file_lacks_is_named_with_the_closest_one(file):
    file.write_text("when,nam,size,count\n")
    with pytest.raises(InputError, match=r"column 'name' .* did you mean 'nam'"):
        check_file(str(file), COLUMNS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_without_a_header_line_is_read_by_the_names_the_problem_gives(file, monkeypatch, encoding):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    monkeypatch.setattr(csv_blocks, "PIECE_BYTES", 200)
    header = HEADER.strip().split(",")
    file.write_text(GOOD + "bad\n" + GOOD * 20, encoding)
    check_file(str(file), COLUMNS, header)
    batches = read_all(file, COLUMNS, header)
    assert sum(table.num_rows for table, _ in batches) == 21
    assert [letter.line for _, bad in batches for letter in bad] == [2]


def test_a_header_that_does_not_fit_the_files_is_refused(file):
    file.write_text(GOOD)
    with pytest.raises(InputError, match="5 fields in its first line, and the problem's header names 2"):
        check_file(str(file), COLUMNS, ["when", "name"])
    file.write_text(HEADER + GOOD)
    with pytest.raises(InputError, match="begins with a header line"):
        check_file(str(file), COLUMNS, HEADER.strip().split(","))


def test_an_empty_file_is_refused(file):
    file.touch()
    with pytest.raises(InputError, match="empty"):
        check_file(str(file), COLUMNS)


def test_a_quote_that_never_closes_is_refused_before_it_fills_the_memory(file, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    monkeypatch.setattr(csv_blocks, "LONGEST_RECORD", 1000)
    with pytest.raises(InputError, match=r"line 3 .* quote left open"):
        read(file, HEADER + GOOD + '2013-01-01T05:00:00Z,"oak,x,1.5,3\n' + GOOD * 100)


field = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(field, st.one_of(st.floats(-1e30, 1e30).map(repr), field)), max_size=12))
def test_every_record_is_either_a_row_or_a_dead_letter(tmp_path, records):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["name", "size"])
    writer.writerows(records)
    rows, letters = read(tmp_path / "a.csv", text.getvalue(), {"name": Category(), "size": Number()})
    assert len(rows) + len(letters) == len(records)
