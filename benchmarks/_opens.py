"""How often files of a folder are opened, by whatever process: counted by the kernel (inotify)."""

import ctypes
import os
import select
import struct
import threading
from pathlib import Path

OPEN, CLOSED = 0x20, 0x10  # closed without having been written
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class Opens:
    """Within the block, `count` is how many times a file of `folder` was opened so far."""

    def __init__(self, folder: Path):
        self.count = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folder, self._ended = folder, threading.Event()

    def __enter__(self) -> "Opens":
        self._file = self._libc.inotify_init1(os.O_NONBLOCK)
        # Closings keep two openings of one file apart: equal events in a row are told as one.
        if self._file < 0 or self._libc.inotify_add_watch(self._file, bytes(self._folder), OPEN | CLOSED) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {self._folder}")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._reader.join()
        os.close(self._file)

    def _read(self) -> None:
        while True:
            ended = self._ended.is_set()
            if select.select([self._file], [], [], 0.1)[0]:
                self._add(os.read(self._file, 1 << 16))
            elif ended:
                return

    def _add(self, events: bytes) -> None:
        place = 0
        while place < len(events):
            _, mask, _, length = EVENT.unpack_from(events, place)
            self.count += bool(mask & OPEN) and length > 0  # without a name: the folder itself
            place += EVENT.size + length
