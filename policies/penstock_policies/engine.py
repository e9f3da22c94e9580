"""The engine that asks the pack: when it is killed, nobody else ends the pack's process."""

import os
import socket
import threading
import time

SECONDS = 1.0
"""How often it is looked for."""


def end_with(address: str) -> None:
    """Has this process end soon after nothing listens at the engine's address, `HOST:PORT`, any more."""
    host, _, port = address.rpartition(":")

    def watch() -> None:
        while True:
            time.sleep(SECONDS)
            try:
                socket.create_connection((host, int(port)), timeout=30).close()
            except ConnectionRefusedError:
                os._exit(1)
            except OSError:
                continue  # it is there, and busy

    threading.Thread(target=watch, name="engine", daemon=True).start()
