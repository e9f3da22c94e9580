"""A schema with a column of each kind."""

import pytest

from penstock_serving.decoding import RequestDecoder
from penstock_serving.schema import Column, ColumnType, Schema


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Required and optional columns of every type, one with a name that is no identifier, and an ignored one."""
    columns = (
        Column("distance", ColumnType.NUMBER, required=True),
        Column("temp °F", ColumnType.NUMBER, required=False),
        Column("month", ColumnType.INTEGER, required=True),
        Column("seats", ColumnType.INTEGER, required=False),
        Column("carrier", ColumnType.CATEGORY, required=True),
        Column("engine", ColumnType.CATEGORY, required=False),
    )
    return Schema(name="flights", head="binary", label="late", columns=columns, ignored=("tailnum",))


@pytest.fixture(scope="session")
def decoder(schema: Schema) -> RequestDecoder:
    """The decoder of that schema."""
    return RequestDecoder(schema)
