"""DuckDB's side of `benchmarks/preprocess.py`: SQL from CSV to shuffled Parquet of features.

    benchmarks/peers/.venv/bin/python benchmarks/peers/duckdb_pipeline.py RAW_FOLDER OUTPUT [--unshuffled]

The files are read once, into a table in memory; one query aggregates means, deviations and (approximate) quantiles, one
a category ranks its words, and the last computes the features and writes them in random order.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import duckdb
import features


def main(raw: Path, output: Path, shuffled: bool) -> None:
    """Aggregate, transform and write `raw`."""
    output.mkdir(parents=True)
    database = duckdb.connect()
    database.execute(_table(raw))
    database.execute(f"create table found as select {', '.join(_statistics())} from raw")
    for name in features.CATEGORIES:
        database.execute(
            f"create table ids_{name} as select {name} as word, 1 + row_number() over (order by count(*) desc, {name}) "
            f"as id from raw where {name} is not null group by {name}"
        )
    joins = " ".join(f"left join ids_{name} on raw.{name} = ids_{name}.word" for name in features.CATEGORIES)
    order = "order by hash(raw.row)" if shuffled else ""
    aggregated = database.execute("select * from found")
    names, values = [column[0] for column in aggregated.description], aggregated.fetchone()
    found = dict(zip(names, values, strict=True))
    chosen = ", ".join(["raw.row", *_features(found), _cross(found)])
    query = f"select {chosen} from raw {joins} {order}"
    database.execute(f"copy ({query}) to '{output / 'proof-00000.parquet'}' (format parquet)")


def _table(raw: Path) -> str:
    with next(raw.glob("*.csv")).open() as file:
        names = [name.strip('"') for name in file.readline().strip().split(",")]
    numbers = {*features.REQUIRED, *features.OPTIONAL}
    types = {n: "integer" if n == "row" else "float" if n in numbers else "varchar" for n in names}
    columns = ", ".join(f"'{name}': '{type_}'" for name, type_ in types.items())
    chosen = ", ".join([*features.REQUIRED, *features.OPTIONAL, *features.CATEGORIES])
    return (
        f"create table raw as select {chosen}, temp - dewp as dew_spread, "
        "floor(sched_dep_time / 100) * 60 + sched_dep_time % 100 as departure_minute "
        f"from read_csv('{raw}/*.csv', auto_detect = false, header = true, quote = '\"', columns = {{{columns}}})"
    )


def _statistics() -> list[str]:
    scaled = [f"avg({n}) as mean_{n}, stddev_pop({n}) as deviation_{n}" for n in features.SCALED]
    cut = [
        f"approx_quantile({name}, {[i / buckets for i in range(1, buckets)]}) as edges_{name}"
        for name, buckets in features.BUCKETIZED.items()
    ]
    return [*scaled, *cut, f"(select count(distinct {features.CROSS[1]}) from raw) + 2 as size"]


def _features(found: dict[str, Any]) -> list[str]:
    # The aggregates stand in the query as literals, and buckets are a chain of comparisons: this took half the time of
    # joining `found` and searching a list.
    scaled = [
        f"ifnull(({name}::double - {found[f'mean_{name}']}) / {found[f'deviation_{name}']}, 0)::float as {name}_scaled"
        for name in features.SCALED
    ]
    buckets = [_bucket(name, found[f"edges_{name}"]) for name in features.BUCKETIZED]
    return [*scaled, *buckets, *(f"ifnull(ids_{name}.id, 0) as {name}_vocabulary" for name in features.CATEGORIES)]


def _bucket(name: str, edges: list[float]) -> str:
    chain = " ".join(f"when {name} < {edge} then {place}" for place, edge in enumerate(edges, start=2))
    return f"case when {name} is null then 0 {chain} else {len(edges) + 2} end as {name}_bucketized"


def _cross(found: dict[str, Any]) -> str:
    left, right = features.CROSS
    upper, lower = features.FACTOR
    pair = f"(ids_{left}.id * {found['size']} + ids_{right}.id)"
    hashed = f"((({pair} * {upper} + (({pair} * {lower}) >> 32)) >> 1) & {0x7FFFFFFF})"
    return f"{hashed} % {features.CROSS_BUCKETS} as {left}_x_{right}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--unshuffled" not in sys.argv)
