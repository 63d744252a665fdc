"""Where a request goes, held for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from llmd_py._native import Decision, Endpoint, Explanation, Overlap


class Pick:
    """Where a request goes. It counts as in flight there until this is done with.

    Use it in a `with` or `async with` statement for as long as the request runs, or call `done`. What is forgotten is given
    back when it is garbage.
    """

    def __init__(
        self,
        decision: Decision,
        request_id: str,
        overlap: Overlap | None,
        url: Callable[[str], str],
        computed: Callable[[Endpoint], None],
        left: Callable[[Pick], None],
    ) -> None:
        self.decision = decision
        """The scheduler's own decision, with all that it can tell and do."""
        self.request_id = request_id
        """The name that logs know the request by."""
        self.overlap: Mapping[str, int] = overlap if overlap is not None else {}
        """How many leading blocks of the prompt each worker held at the moment of the pick; empty when nobody has asked."""
        self._overlap, self._url, self._computed, self._left = overlap, url, computed, left

    def __repr__(self) -> str:
        return f"<Pick: {self.url}{', done' if self.decision.released else ''}>"

    def __enter__(self) -> Pick:
        return self

    def __exit__(self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        if kind is None:
            self.done()
        else:
            self.abandon()

    async def __aenter__(self) -> Pick:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.__exit__(kind, value, trace)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that answers, now: after `advance` another."""
        return self.decision.endpoint

    @property
    def url(self) -> str:
        """Where the request is sent: `http://host:port`."""
        return self._url(self.decision.request_headers.destination or self.decision.address)

    @property
    def headers(self) -> dict[str, str]:
        """Headers to set on the request, in the place of those of the same name."""
        return self.decision.request_headers.set

    @property
    def remove(self) -> list[str]:
        """Headers, in lower case, that a client may have sent and that go no further."""
        return self.decision.request_headers.remove

    @property
    def response_headers(self) -> dict[str, str]:
        """Headers to add to the response."""
        return self.decision.headers

    @property
    def hit_tokens(self) -> int:
        """How many tokens of the prompt the endpoint would have taken from its cache at the moment of the pick: whole blocks,
        and never the last token. Where nobody has asked the index, what the scheduler's plugins predict."""
        overlap = self._overlap
        return self.decision.predicted_hit_tokens if overlap is None else overlap.hit_tokens(self.endpoint.worker)

    @property
    def explanation(self) -> Explanation:
        """Why this endpoint: as text a table, and the same facts by `to_dict`. Can be asked later, too."""
        return self.decision.explain()

    def advance(self) -> Endpoint | None:
        """The endpoint failed before its first byte: the place moves to the next best, which is returned; None when all failed.

        Raises `StaleError` when it is done with.
        """
        return self.decision.advance()

    def first_token(self) -> None:
        """The first token came back. Does nothing when it is done with."""
        if not self.decision.released:
            self.decision.first_token()
            self._computed(self.endpoint)

    def done(self, *, prompt_tokens: int | None = None, cached_tokens: int | None = None, output_tokens: int | None = None) -> None:
        """The response is complete, and took this many tokens, where the engine says so. Again it does nothing."""
        if not self.decision.released:
            self.decision.end(prompt_tokens=prompt_tokens, cached_tokens=cached_tokens, output_tokens=output_tokens)
            self._left(self)
            if prompt_tokens is not None:
                self._computed(self.endpoint)

    def abandon(self) -> None:
        """The request was given up: gives the place back. Again it does nothing."""
        self.decision.release()
        self._left(self)
