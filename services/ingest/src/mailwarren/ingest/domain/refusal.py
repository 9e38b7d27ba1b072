"""Refusals: why a request is not done, in the words and with the names of Resend's public API.

One exception carries what the error body needs (``statusCode``, ``name``, ``message``); the functions below are the
closed list of reasons.
"""

from enum import StrEnum
from http import HTTPStatus

RETRY_AFTER = 2
"""Seconds that a client is asked to wait when nothing tells us better: depths are read every second."""


class Name(StrEnum):
    """Why a request is refused: what is counted, and nearly always the ``name`` of the error body (:attr:`wire`)."""

    VALIDATION = "validation_error"
    MISSING_FIELD = "missing_required_field"
    INVALID_PARAMETER = "invalid_parameter"
    MISSING_KEY = "missing_api_key"
    INVALID_KEY = "invalid_api_key"
    RESTRICTED_KEY = "restricted_api_key"
    NOT_FOUND = "not_found"
    METHOD = "method_not_allowed"
    TOO_LARGE = "payload_too_large"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    INVALID_IDEMPOTENT = "invalid_idempotent_request"
    CONCURRENT_IDEMPOTENT = "concurrent_idempotent_requests"
    UNAVAILABLE = "service_unavailable"
    PAUSED = "bulk_paused"
    APPLICATION = "application_error"

    @property
    def wire(self) -> str:
        """The ``name`` of the error body, out of the public API's closed list.

        SDKs choose their exception by it and know that list only: resend-php takes an answer with any other name for
        a success, whatever its status, and resend-dotnet cannot read it.
        """
        return _WIRE.get(self, self.value)


_WIRE = {Name.PAUSED: "validation_error", Name.TOO_LARGE: "validation_error", Name.UNAVAILABLE: "internal_server_error"}


class Refusal(Exception):
    """A request is not done.

    Args:
        status: HTTP status code.
        name: of the error body.
        message: for the caller: what is wrong and what to do.
        retry_after: seconds, for the ``Retry-After`` header.

    Attributes:
        close: the connection too, because the rest of the request is not read.
    """

    def __init__(self, status: int, name: Name, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = int(status)
        self.name = name
        self.message = message
        self.retry_after = retry_after
        self.close = False

    def about(self, what: str) -> "Refusal":
        """The same refusal, said of a part of the request."""
        return Refusal(self.status, self.name, f"{what}: {self.message}", self.retry_after)


def malformed(message: str) -> Refusal:
    """400: the body is not JSON."""
    return Refusal(HTTPStatus.BAD_REQUEST, Name.VALIDATION, message)


def invalid(message: str) -> Refusal:
    """422: a field has a value that cannot be used."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, Name.VALIDATION, message)


def missing(message: str) -> Refusal:
    """422: a required field is absent."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, Name.MISSING_FIELD, message)


def invalid_parameter(message: str) -> Refusal:
    """422: a path or query parameter."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, Name.INVALID_PARAMETER, message)


def missing_key() -> Refusal:
    """401: no ``Authorization: Bearer``."""
    return Refusal(
        HTTPStatus.UNAUTHORIZED, Name.MISSING_KEY, "Missing API key: send the header `Authorization: Bearer mw_...`."
    )


def invalid_key() -> Refusal:
    """403: no such key, or deleted."""
    return Refusal(HTTPStatus.FORBIDDEN, Name.INVALID_KEY, "API key is invalid: it is unknown or was deleted.")


def restricted_key() -> Refusal:
    """401 (as Resend answers it): the key may only send."""
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        Name.RESTRICTED_KEY,
        "This API key is restricted to only send emails: use a full_access key.",
    )


def foreign_domain(domain: str, allowed: tuple[str, ...]) -> Refusal:
    """403: ``from`` is outside the key's sending domains."""
    return Refusal(
        HTTPStatus.FORBIDDEN,
        Name.VALIDATION,
        f"This API key may not send from {domain}: its sending domains are {', '.join(allowed)}.",
    )


def unverified_domain(domain: str) -> Refusal:
    """403: ``from`` has a domain that is not verified, and only such may send."""
    return Refusal(
        HTTPStatus.FORBIDDEN,
        Name.VALIDATION,
        f"The {domain} domain is not verified. Add it with POST /v1/domains, publish the records that it lists, and "
        "verify it with POST /v1/domains/{id}/verify.",
    )


def bulk_paused(why: str) -> Refusal:
    """403: too much of the tenant's mail bounced."""
    return Refusal(
        HTTPStatus.FORBIDDEN,
        Name.PAUSED,
        f"The bulk mail of this account is paused: {why}. Other mail goes on. Look at GET /v1/breaker, mend the list "
        "of recipients, and go on with POST /v1/breaker/resume.",
    )


def foreign_grant(allowed: tuple[str, ...]) -> Refusal:
    """403: a key would get more than its maker has."""
    return Refusal(
        HTTPStatus.FORBIDDEN,
        Name.VALIDATION,
        f"This API key can only make keys whose `domains` are some of its own: {', '.join(allowed)}.",
    )


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(HTTPStatus.NOT_FOUND, Name.NOT_FOUND, message)


def method_not_allowed(method: str, allowed: str) -> Refusal:
    """405."""
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, Name.METHOD, f"{method} is not allowed here; allowed: {allowed}.")


def too_large(limit: int) -> Refusal:
    """413: the body is longer than ``limit`` bytes."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Name.TOO_LARGE,
        f"The request body is larger than {limit} bytes. Send fewer emails or recipients in a call, or less content.",
    )


def file_too_large(limit: int) -> Refusal:
    """413: the same of an uploaded file."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Name.TOO_LARGE,
        f"The upload is larger than {limit} bytes. Send the file in parts, each with the line of the columns' names.",
    )


def too_slow(seconds: float) -> Refusal:
    """408: a large body did not come in."""
    return Refusal(
        HTTPStatus.REQUEST_TIMEOUT, Name.VALIDATION, f"The request body did not come within {seconds:.0f} seconds."
    )


def expired_link() -> Refusal:
    """403: a download link that is over, or none of ours."""
    return Refusal(
        HTTPStatus.FORBIDDEN, Name.VALIDATION, "This link is not valid, or not any more: ask for the attachment again."
    )


def bad_idempotency_key(message: str) -> Refusal:
    """400: the header's value."""
    return Refusal(HTTPStatus.BAD_REQUEST, Name.INVALID_IDEMPOTENCY_KEY, message)


def other_body() -> Refusal:
    """409: the key was used for another request."""
    return Refusal(
        HTTPStatus.CONFLICT,
        Name.INVALID_IDEMPOTENT,
        "This Idempotency-Key was used in the last 24 hours with another path or body: a new request needs a new key.",
    )


def in_flight() -> Refusal:
    """409: the first call with the key has not ended."""
    return Refusal(
        HTTPStatus.CONFLICT,
        Name.CONCURRENT_IDEMPOTENT,
        "A call with this Idempotency-Key is being worked on: wait for its answer, or repeat this one later.",
        retry_after=RETRY_AFTER,
    )


def unavailable(message: str, retry_after: int = RETRY_AFTER) -> Refusal:
    """503: not now."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, Name.UNAVAILABLE, message, retry_after)


def application_error(request_id: str) -> Refusal:
    """500: our fault."""
    return Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        Name.APPLICATION,
        f"Something went wrong on our side. The request id is {request_id}; it is in the logs.",
    )
