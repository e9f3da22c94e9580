"""What a request can do wrong, each with the HTTP status that answers it."""

from collections.abc import Mapping


class RequestError(Exception):
    """A request that is refused: the message goes to the client as `{"error": message}`."""

    status = 400

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})


class RowError(RequestError):
    """A row that does not fit the model's schema, and with it the request of `rows` rows.

    `column` is the model's; None: it has none of that name. `reason`: `missing`, `type`, `value` or `unknown`.
    """

    def __init__(self, message: str, column: str | None, reason: str, rows: int) -> None:
        super().__init__(message)
        self.column, self.reason, self.rows = column, reason, rows


class UnauthorizedError(RequestError):
    """The server wants a token, and the request has none of its; `WWW-Authenticate` says how to send one."""

    status = 401


class NotFoundError(RequestError):
    """No such model, version or route."""

    status = 404


class MethodNotAllowedError(RequestError):
    """The route exists, for other methods; `Allow` names them."""

    status = 405


class TooSlowError(RequestError):
    """The request's body did not arrive in time."""

    status = 408


class TooLargeError(RequestError):
    """The request's body is larger than the server reads."""

    status = 413


class UnsupportedEncodingError(RequestError):
    """The request's body is compressed in a way that the server does not read."""

    status = 415


class QueueFullError(RequestError):
    """More rows wait for the model than the server keeps; `Retry-After` says when to come back."""

    status = 429


class HeadersTooLargeError(RequestError):
    """The request's headers are larger than the server reads."""

    status = 431


class UnavailableError(RequestError):
    """The model is still loading, or the server is full or going away; `Retry-After` says when to come back."""

    status = 503


class DeadlineError(RequestError):
    """The model did not answer within the time that the server, or the request itself, gives it."""

    status = 504
