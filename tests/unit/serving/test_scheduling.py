"""How soon a server that wakes gets a processor that others keep busy, and what its threads share."""

import subprocess
import sys

import pytest

SAYS = """
import ctypes, struct, threading
from penstock_serving import scheduling
if scheduling.answer_promptly():
    def say():
        found = ctypes.create_string_buffer(struct.calcsize(scheduling._ATTRIBUTES))
        number = {314: 315, 274: 275}[scheduling._SCHED_SETATTR[scheduling.platform.machine()]]  # sched_getattr
        assert ctypes.CDLL(None).syscall(number, 0, found, len(found), 0) == 0
        print(struct.unpack(scheduling._ATTRIBUTES, found)[5])
    say()
    threading.Thread(target=say).start()
"""


def test_a_server_and_the_threads_it_starts_ask_for_short_slices_where_the_kernel_gives_them():
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("NOT RUN: this kernel gives no slices of one's own")
    assert done.stdout.split() == ["500000", "500000"]


HEAPS = """
import ctypes, sys, threading
from penstock_serving import scheduling
if sys.argv[1] == "shared":
    scheduling.share_one_heap()
libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_info"):
    sys.exit()
barrier = threading.Barrier(4)
def allocate():
    kept = ctypes.create_string_buffer(100_000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def test_threads_share_a_heap_where_the_c_library_would_give_each_its_own():
    heaps = {}
    for how in ("shared", "own"):
        done = subprocess.run([sys.executable, "-c", HEAPS, how], capture_output=True, text=True, check=True)
        heaps[how] = done.stdout.count("<heap ")
    if not heaps["own"]:
        pytest.skip("NOT RUN: this C library tells nothing of its heaps")
    assert heaps["shared"] == 1 < heaps["own"]
