from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from penstock_trainer import blocks
from penstock_trainer.examples import Block, Examples, map_block, read_block, write_block

ROWS = 5000
EXAMPLES = Examples(["size", "age"], ["kind"], {"training": [Block("a.block", ROWS)]})


@pytest.fixture
def block(tmp_path):
    random = np.random.default_rng(0)
    with (tmp_path / "a.block").open("wb") as file:
        write_block(file, random.normal(size=(2, ROWS)), random.integers(-1, 9, (1, ROWS)), random.normal(size=ROWS))
    return tmp_path / "a.block"


def test_a_graph_gets_the_same_cells_by_a_blocks_path_and_from_the_kernels_pages(block):
    cells = tf.function(lambda given: blocks.cells(given, EXAMPLES.width))
    numbers, codes, label = read_block(block, EXAMPLES)
    for given in (tf.constant(str(block)), blocks.mapped(block)):
        found = cells(given).numpy()
        np.testing.assert_array_equal(found[:2], numbers)
        np.testing.assert_array_equal(found[2:3].view(np.int32), codes)
        np.testing.assert_array_equal(found[3], label)


def test_a_mapped_block_is_the_kernels_pages_and_no_copy_of_them(block):
    given = blocks.mapped(block)
    address = np.asarray(memoryview(given)).ctypes.data  # pyright: ignore[reportArgumentType]
    maps = Path("/proc/self/maps")
    (of_the_file,) = (line.split("-")[0] for line in maps.read_text().splitlines() if line.endswith(str(block)))
    assert address == int(of_the_file, 16)
    del given
    assert str(block) not in maps.read_text(), "they go with the tensor"


def test_what_is_written_to_a_mapped_block_does_not_reach_its_file(block):
    before = block.read_bytes()
    map_block(block)[:] = 7.0
    assert block.read_bytes() == before


def test_rows_are_in_the_order_that_the_seed_gives_all_of_them_and_whole(block):
    cells = blocks.cells(blocks.mapped(block), EXAMPLES.width)
    rows = cells.numpy().T
    first, again, other = (blocks.shuffled(cells, tf.constant([1, n])).numpy() for n in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    for found in (first, other):
        assert {row.tobytes() for row in found} == {row.tobytes() for row in rows}
        assert len({row.tobytes() for row in found}) == ROWS
