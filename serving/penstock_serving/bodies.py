"""The bodies of requests and answers on their way: how many bytes of them a server holds, and gzip."""

import gzip
import zlib
from concurrent.futures import ThreadPoolExecutor

from penstock_serving.errors import RequestError, TooLargeError, UnavailableError, UnsupportedEncodingError

BODY_LIMIT = 8 * 1024 * 1024
ROWS_LIMIT = 64 * 1024
"""Of one request: a row of two bytes takes a hundred once it is decoded."""
HELD_LIMIT = 8 * BODY_LIMIT
"""Of all requests together, from the first byte to the answer; small ones that came whole are not counted."""
GZIP_FROM = 16 * 1024
"""Smaller answers are sent as they are: it would cost more than it saves."""
GZIP_LEVEL = 1
PLAIN, GZIP = (b"", b"identity"), (b"gzip", b"x-gzip")
NEVER = (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")

BESIDE = ThreadPoolExecutor(2, "bodies")
"""Where large bodies are decoded, inflated and packed. Most of it holds Python's lock: more at a time would only take
more memory."""


class Held:
    """The bytes that a server holds of its requests' bodies."""

    def __init__(self, limit: int = HELD_LIMIT) -> None:
        self.limit = limit
        self.bytes = 0

    def take(self, size: int) -> None:
        """Hold so many more.

        Raises:
            UnavailableError: together they would be too many.
        """
        if self.bytes + size > self.limit:
            raise UnavailableError(
                f"requests of {self.bytes} bytes are on their way already, the limit is {self.limit}",
                {"retry-after": "1"},
            )
        self.bytes += size

    def give(self, size: int) -> None:
        """Hold so many less."""
        self.bytes -= size


class Share:
    """What one request holds of it, given back at the end of a `with`."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._bytes = 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.give(self._bytes)

    def take(self, size: int) -> None:
        """Hold so many more; as `Held.take`."""
        self._held.take(size)
        self._bytes += size


def too_large(size: str) -> TooLargeError:
    """The refusal of a body of this size."""
    return TooLargeError(f"the body has {size}, the limit is {BODY_LIMIT}: post fewer rows at a time")


def packed(encoding: bytes) -> bool:
    """Whether a request's `content-encoding` says that its body is gzip.

    Raises:
        UnsupportedEncodingError: it says something else.
    """
    encoding = encoding.strip().lower()
    if encoding in PLAIN:
        return False
    if encoding in GZIP:
        return True
    raise UnsupportedEncodingError(
        f"content-encoding {encoding.decode('latin-1')[:40]!r}: post the body as it is, or as gzip"
    )


def inflate(body: bytes) -> bytes:
    """The body that `body` is the gzip of; of one that would be too large, no more than that is made.

    Raises:
        TooLargeError: it is too large.
        RequestError: it is no gzip, or not just one.
    """
    inflating = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        found = inflating.decompress(body, BODY_LIMIT + 1)
    except zlib.error as exc:
        raise RequestError(f"the body is no gzip, as content-encoding says: {exc}") from exc
    if len(found) > BODY_LIMIT:
        raise too_large(f"over {BODY_LIMIT} bytes when unpacked")
    if not inflating.eof:
        raise RequestError("the body is no gzip, as content-encoding says: it ends too early")
    if inflating.unused_data:
        raise RequestError(f"the body is no gzip, as content-encoding says: {len(inflating.unused_data)} bytes follow")
    return found


def wants_gzip(accepted: bytes | None) -> bool:
    """Whether a request's `accept-encoding` names gzip."""
    for each in (accepted or b"").lower().split(b","):
        name, _, quality = each.partition(b";")
        if name.strip() in GZIP:
            return quality.replace(b" ", b"") not in NEVER
    return False


def deflate(body: bytes) -> bytes:
    """The gzip of an answer."""
    return gzip.compress(body, GZIP_LEVEL, mtime=0)
