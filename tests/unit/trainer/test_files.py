"""Files by local and `gs://` names; the cloud ones on a real emulator of Cloud Storage."""

import gzip
import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from penstock_trainer import artifacts, beam_pipeline, csv_blocks, files, runners, sources
from penstock_trainer.__main__ import main
from penstock_trainer.artifacts import file_digest
from penstock_trainer.problem import Category, Integer, load_problem
from penstock_trainer.statistics import read_statistics

from .conftest import run

COLUMNS = {"name": Category(), "count": Integer()}


def rows(path):
    batches = [batch for piece in sources.pieces(path) for batch in sources.read_piece(piece, COLUMNS)]
    return sorted(row["count"] for table, _ in batches for row in table.to_pylist())


@pytest.fixture
def bucket(storage):
    storage.create_dir("bucket")
    yield storage
    for info in storage.get_file_info(pyarrow.fs.FileSelector("bucket", recursive=True)):
        if info.is_file:
            storage.delete_file(info.path)


def put(cloud, name, content):
    with cloud.open_output_stream(f"bucket/{name}", compression=None) as stream:
        stream.write(content)


def test_a_pattern_finds_the_files_of_a_folder_and_those_a_glob_names(bucket, tmp_path):
    for name in ("a.csv", "b.csv.gz", "c.txt", "deep/d.parquet"):
        put(bucket, f"raw/{name}", b"x")
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).touch()
    for root in ("gs://bucket", str(tmp_path)):
        found = {p: [n.removeprefix(root) for n in files.find(root + p, sources.ENDINGS)] for p in PATTERNS}
        assert found == PATTERNS


PATTERNS = {
    "/raw": ["/raw/a.csv", "/raw/b.csv.gz"],
    "/raw/a.csv": ["/raw/a.csv"],
    "/raw/*.csv*": ["/raw/a.csv", "/raw/b.csv.gz"],
    "/raw/?.txt": ["/raw/c.txt"],
    "/*/deep/*": ["/raw/deep/d.parquet"],
    "/**/*.parquet": ["/raw/deep/d.parquet"],
    "/raw/none*": [],
}


def test_cloud_files_of_every_format_read_as_local_ones_do(bucket, tmp_path):
    text = "name,count\n" + "".join(f"oak,{n}\n" for n in range(100))
    put(bucket, "a.csv", text.encode())
    put(bucket, "a.csv.gz", gzip.compress(text.encode()))
    table = pa.table({"name": ["oak"] * 100, "count": range(100)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    put(bucket, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        sources.check_file(f"gs://bucket/{name}", COLUMNS)
        assert rows(f"gs://bucket/{name}") == list(range(100))


def test_a_piece_of_a_large_cloud_file_is_read_by_its_range_and_not_the_file(bucket, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(csv_blocks, "PIECE_BYTES", 100_000)
    put(bucket, "large.csv", b"name,count\n" + b"".join(b"%060d,%d\n" % (n, n) for n in range(10_000)))
    cut = list(sources.pieces("gs://bucket/large.csv"))
    assert len(cut) > 5
    read = []
    source = files.source

    class Counted(io.RawIOBase):
        def __init__(self, path):
            self.inner = source(path)

        def readable(self):
            return True

        def seekable(self):
            return True

        def seek(self, place, whence=0):
            return self.inner.seek(place, whence)

        def tell(self):
            return self.inner.tell()

        def readinto(self, buffer):
            content = self.inner.read(len(buffer))
            buffer[: len(content)] = content
            read.append(len(content))
            return len(content)

    monkeypatch.setattr(files, "source", Counted)
    (*_, last) = cut
    found = [table for table, _ in sources.read_piece(last, COLUMNS)]
    assert sum(table.num_rows for table in found) < 3000
    assert last.end is not None
    assert sum(read) < last.end - last.start + files.BUFFER + csv_blocks.BLOCK_BYTES


def test_a_cloud_files_digest_is_its_stores_own_and_changes_with_its_content(bucket, tmp_path):
    put(bucket, "a.csv", b"one")
    assert files.digest("gs://bucket/a.csv") == "md5:f97c5d29941bfb1b2fdab0874906ab82"
    put(bucket, "a.csv", b"two")
    assert files.digest("gs://bucket/a.csv") != "md5:f97c5d29941bfb1b2fdab0874906ab82"
    (tmp_path / "a.csv").write_bytes(b"one")
    assert files.digest(str(tmp_path / "a.csv")) == file_digest(tmp_path / "a.csv")


def test_preprocessing_raw_files_of_a_bucket_gives_the_dataset_of_the_local_ones(bucket, raw, dataset, tmp_path):
    for path in Path(raw.path).glob("*.csv"):
        with path.open("rb") as source, bucket.open_output_stream(f"bucket/{path.name}") as stream:
            shutil.copyfileobj(source, stream)
    flags = ("--problem", "flights", "--artifacts", tmp_path, "--raw", "gs://bucket/*.csv")
    found = run("preprocess", *flags, folder=tmp_path)
    assert found.counts == dataset.counts
    assert not found.reused
    assert run("preprocess", *flags, folder=tmp_path).reused


def test_shards_may_order_their_columns_as_they_like_and_one_that_lacks_one_is_named(raw, dataset, tmp_path, capsys):
    paths = sorted(Path(raw.path).glob("*.csv"))
    first = pa_csv.read_csv(paths[0])
    pa_csv.write_csv(first.select(first.column_names[::-1]), tmp_path / paths[0].name)
    shutil.copy(paths[1], tmp_path)
    flags = ["preprocess", "--problem", "flights", "--artifacts", str(tmp_path / "a"), "--raw", str(tmp_path)]
    assert run(*flags, folder=tmp_path).counts == dataset.counts
    pa_csv.write_csv(first.drop_columns(["humid"]), tmp_path / "lacking.csv")
    assert main(flags) == 2
    assert "column 'humid' is declared in the problem, but" in (said := capsys.readouterr().err)
    assert "lacking.csv has none" in said


def test_workers_that_share_nothing_but_a_bucket_make_the_very_same_dataset(bucket, raw, dataset, tmp_path):
    paths = []
    for path in sorted(Path(raw.path).glob("*.csv")):
        put(bucket, f"raw/{path.name}", path.read_bytes())
        paths.append(f"gs://bucket/raw/{path.name}")
    options = runners.beam_options("in-process", 1, [], tmp_path)
    flights = load_problem("flights")
    counts = beam_pipeline.run(flights, "flights", paths, tmp_path / "made", "gs://bucket/tmp/penstock-x", options)
    assert counts == dataset.counts
    files.delete_folder("gs://bucket/tmp/penstock-x")
    left = bucket.get_file_info(pyarrow.fs.FileSelector("bucket/tmp", recursive=True, allow_not_found=True))
    assert not [each.path for each in left if each.is_file]
    wanted = {name for name in artifacts.file_digests(Path(dataset.path)) if name.startswith("examples")}
    assert wanted == {name for name in artifacts.file_digests(tmp_path / "made") if name.startswith("examples")}
    numbers = [column for split in read_statistics(tmp_path / "made").values() for column in split.values()]
    before = [column for split in read_statistics(Path(dataset.path)).values() for column in split.values()]
    assert [(c.count, c.missing) for c in numbers] == [(c.count, c.missing) for c in before]
