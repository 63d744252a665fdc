"""What can go wrong, sorted by what the caller should do next."""


class LlmdError(Exception):
    """Anything that llmd raises.

    Where it means that a request is sent nowhere, `status` is the HTTP status of the answer, and `reason` what llm-d says in
    the header `x-llm-d-request-dropped-reason`, if it says anything.
    """

    status: int | None = None
    reason: str | None = None


class CorruptError(LlmdError):
    """Bytes are not what they claim to be: drop them, count it, go on."""


class DeniedError(LlmdError):
    """The caller may not do this: do not retry."""


class ExhaustedError(LlmdError):
    """A limit was reached: retry later, or raise it."""


class InternalError(LlmdError):
    """A defect of llmd: report it."""


class InvalidError(LlmdError, ValueError):
    """The call was wrong: fix it."""


class StaleError(LlmdError):
    """What was named has been replaced since: ask again."""


class UnavailableError(LlmdError):
    """The other side is not there now: go elsewhere, or retry later."""


class UnsupportedError(LlmdError):
    """This machine or build cannot do it: choose another way."""
