"""Copies of variables, on one worker that is this process."""

from typing import Any

import pytest
import tensorflow as tf

from penstock_trainer.copies import Copies, Copy

LARGEST = 16  # bytes


class Made:
    """Variables of each kind, with the values from which the servers start."""

    def __init__(self):
        rate: Any = 0.25  # a plain number, as Keras gives its optimizers' rates
        self.strategy = tf.distribute.OneDeviceStrategy("/device:CPU:0")
        self.copies = Copies(self.strategy, LARGEST)
        with self.copies.made():
            self.learnt = tf.Variable(tf.constant([[1.0, 2.0]]))
            self.rate = tf.Variable(rate)
            self.average = tf.Variable(tf.constant([4.0, 5.0]), trainable=False)
            self.count = tf.Variable(tf.constant(3, tf.int64), trainable=False)
        self.all = (self.learnt, self.rate, self.average, self.count)

    def values(self):
        return [variable.numpy().tolist() for variable in self.all]

    def step(self, *, changed):
        """What a worker reads, changes its copies by and, where they are `changed`, gives back, while another one gives
        back a difference of 10 in each number.
        """

        @tf.function
        def block():
            with self.copies.borrowed(changed=changed):
                read = [variable.read_value() for variable in self.all]
                for common in self.copies._common.values():
                    common.assign_add(tf.fill(common.shape, tf.constant(10, common.dtype)))
                self.learnt.assign_add([[1.0, -1.0]])
                self.average.assign([7.0, 8.0])
                self.count.assign_add(1)
            return read

        return [value.numpy().tolist() for value in block()]


@pytest.fixture
def made():
    return Made()


def test_of_what_is_learnt_and_counted_all_workers_differences_are_added_and_averages_are_the_last_worker_s(made):
    assert made.step(changed=True) == [[[1, 2]], 0.25, [4, 5], 3]
    assert made.values() == [[[1, 2]], 0.25, [4, 5], 3]  # only the worker's and the servers' have changed
    made.copies.take()
    assert made.values() == [[[12, 11]], 10.25, [7, 8], 14]


def test_a_worker_that_only_reads_gives_nothing_back(made):
    made.step(changed=False)
    made.copies.take()
    assert made.values() == [[[11, 12]], 10.25, [14, 15], 13]


def test_a_worker_takes_what_this_process_has_put_and_not_what_its_copies_were(made):
    made.step(changed=True)
    made.learnt.assign([[-1.0, -2.0]])
    made.count.assign(100)
    made.copies.put()
    assert made.step(changed=False) == [[[-1, -2]], 0.25, [4, 5], 100]


def test_variables_of_one_kind_lie_side_by_side_on_the_servers(made):
    flat = {(dtype.name, added): values.numpy().tolist() for (dtype, added), values in made.copies.take().items()}
    assert flat == {("float32", True): [1, 2, 0.25], ("float32", False): [4, 5], ("int64", True): [3]}


def test_what_is_large_or_beside_it_or_neither_a_number_nor_of_a_known_shape_stays_where_the_strategy_has_it():
    strategy = tf.distribute.OneDeviceStrategy("/device:CPU:0")
    copies = Copies(strategy, LARGEST)
    with strategy.scope():
        shard = tf.Variable(tf.zeros([2]))  # of what is large in all
    with copies.made():
        largest, small = tf.Variable(tf.zeros([4])), tf.Variable(tf.zeros([2]))
        large = tf.Variable(tf.zeros([5]))
        slots = []
        for beside in (small, large, shard):
            with strategy.extended.colocate_vars_with(beside):
                slots.append(tf.Variable(lambda of=beside: tf.zeros_like(of), shape=beside.shape, dtype=tf.float32))
        flag = tf.Variable(tf.constant(False), trainable=False)
        changing = tf.Variable(tf.constant([1.0]), shape=[None])
    assert [isinstance(each, Copy) for each in (largest, small, *slots)] == [True, True, True, False, False]
    assert not any(isinstance(each, Copy) for each in (large, flag, changing))
    assert [each.place for each in (largest, small, slots[0])] == [0, 1, 2]
