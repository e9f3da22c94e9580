"""Parts: prepared batches as Arrow files, on their way from raw rows to shuffled blocks."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from penstock_trainer import files, graph
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.moments import CELLS, DAY
from penstock_trainer.problem import Category, Text, Timestamp


@dataclass(frozen=True)
class Part:
    """A prepared batch of one split: an Arrow file in the scratch folder."""

    split: str
    path: str
    rows: int


def to_numpy(values: pa.ChunkedArray, column: Any) -> np.ndarray:
    """As the graph takes it: float32 with NaN, text with the empty string, or a timestamp's cells with `MISSING`, where
    missing.
    """
    if isinstance(column, Timestamp):
        seconds = values.cast(pa.int64())
        found = np.stack(np.divmod(seconds.fill_null(0).to_numpy(), DAY), axis=1)
        return np.where(values.is_null().to_numpy()[:, np.newaxis], MISSING, found).astype(np.int32)
    if isinstance(column, Category | Text):
        return values.cast(pa.string()).fill_null("").to_numpy().astype(object)
    return values.cast(pa.float32()).fill_null(np.nan).to_numpy()


def as_served(values: pa.ChunkedArray, column: Any) -> np.ndarray:
    """As the served signature takes it: a timestamp is text, as clients write it."""
    if isinstance(column, Timestamp):
        values = pc.strftime(values, "%Y-%m-%dT%H:%M:%SZ")
    return to_numpy(values, Text() if isinstance(column, Timestamp) else column)


def is_missing(values: np.ndarray) -> np.ndarray:
    return values == "" if values.dtype == object else np.isnan(values)


def to_dictionary(text: np.ndarray) -> pa.DictionaryArray:
    """The graph's text as parts hold it: by dictionary, with null where missing."""
    values = pa.array(text).cast(pa.string())
    return pc.dictionary_encode(pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values))


def to_tokens(text: tf.Tensor, column: Text) -> pa.FixedSizeListArray:
    """The graph's text as parts hold it: `column.tokens` tokens a row, by dictionary; null where there are fewer."""
    ragged = graph.tokens(text, column)
    there = np.arange(column.tokens) < ragged.row_lengths().numpy()[:, np.newaxis]
    found = pa.array(ragged.flat_values.numpy()).cast(pa.string()).dictionary_encode()
    codes = np.zeros(there.shape, np.int32)
    codes[there] = found.indices.to_numpy()
    indices = pa.array(codes.ravel(), mask=~there.ravel())
    return pa.FixedSizeListArray.from_arrays(pa.DictionaryArray.from_arrays(indices, found.dictionary), column.tokens)


def token_codes_of(values: pa.ChunkedArray, ranks: Mapping[str, int]) -> np.ndarray:
    """int32 codes of the tokens, shape [tokens, rows], given each one's rank among those of the training rows."""
    items = pa.chunked_array([chunk.flatten() for chunk in values.chunks], values.type.value_type)
    return codes_of(items, ranks).reshape(-1, values.type.list_size).T


def cells_of(values: pa.ChunkedArray) -> np.ndarray:
    """A timestamp's cells, int32 of shape [2, rows]."""
    return np.concatenate([chunk.flatten().to_numpy() for chunk in values.chunks]).reshape(-1, CELLS).T


def codes_of(values: pa.ChunkedArray, ranks: Mapping[str, int]) -> np.ndarray:
    """int32 codes of the categories, shape [rows], given each one's rank among the training rows."""
    chunks = values.unify_dictionaries().chunks
    words = chunks[0].dictionary.to_pylist()
    found = np.array([*(ranks.get(word, UNKNOWN) for word in words), MISSING], np.int32)
    unknown = np.flatnonzero(found == UNKNOWN)
    if unknown.size:
        found[unknown] = graph.unknown_codes(tf.constant([words[place] for place in unknown])).numpy()
    return found[np.concatenate([chunk.indices.fill_null(len(words)).to_numpy() for chunk in chunks])]


def write_part(path: str, rows: pa.Table) -> None:
    with files.create_file(path) as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())


def read_part(path: str) -> pa.Table:
    source = pa.memory_map(path) if not path.startswith(files.SCHEME) else files.source(path)
    with source as file:
        return pa.ipc.open_file(file).read_all()
