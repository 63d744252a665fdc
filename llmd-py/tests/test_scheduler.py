"""Schedulers: llm-d's configurations in, decisions out, from any number of threads and in a forked child."""

from __future__ import annotations

import os
import random
import sys
import threading
from typing import Any

import llmd_py as llmd
import pytest
from llmd_py.errors import ExhaustedError, InvalidError, StaleError, UnavailableError, UnsupportedError

from routing import BY_LABEL, HEAD, LEAST_BUSY, PRECISE, QUEUE, REMEMBERED_PREFIX, config, endpoints, said

def test_a_scheduler_says_what_it_needs_and_what_it_is_made_of() -> None:
    scheduler = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX)

    assert scheduler.needs == scheduler.needs and scheduler.needs != llmd.Scheduler.from_yaml(LEAST_BUSY).needs
    assert (scheduler.needs.tokens, scheduler.needs.events, scheduler.needs.response) == (True, False, False)
    needs = "Needs(tokens=False, body=False, cookies=False, metrics=True, attributes=False, events=False, response=False, usage=False)"
    assert repr(llmd.Scheduler.from_yaml(QUEUE).needs) == needs
    assert "profile default: prefix-cache-scorer × 3 → active-request-scorer × 1 → max-score-picker" in scheduler.describe()
    assert scheduler.dropped()["approx-prefix-cache-producer"] == 0
    assert repr(scheduler).startswith("<Scheduler, profile default: prefix-cache-scorer × 3")


def test_a_seed_makes_every_choice_repeatable() -> None:
    pool = endpoints(8)

    def chosen(seed: int) -> list[str]:
        scheduler = llmd.Scheduler.from_yaml(QUEUE, seed=seed)
        return [scheduler.decide(llmd.Request("m"), pool).endpoint.name for _ in range(20)]

    assert chosen(3) == chosen(3)
    assert chosen(3) != chosen(4)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", InvalidError, "empty document"),
        (HEAD + "plugin: []\n", InvalidError, "line 3, column 1"),
        (config("{type: least-kv-cache}"), InvalidError, "least-kv-cache"),
        (HEAD + "featureGates: [flowControl]\n", UnsupportedError, "flow control is not there yet"),
        (PRECISE, InvalidError, "precise-prefix-cache-producer"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_with_its_place(text: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        llmd.Scheduler.from_yaml(text)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("seed", -1, InvalidError),
        ("seed", "x", TypeError),
        ("index", 5, TypeError),
        ("allow_experimental", 5, TypeError),
        ("indexes", None, TypeError),
    ],
)
def test_an_argument_that_is_wrong_is_named(name: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        llmd.Scheduler.from_yaml(LEAST_BUSY, **{name: value})

    assert name in said(caught)


def test_no_endpoint_and_no_endpoint_left_are_told_apart() -> None:
    scheduler = llmd.Scheduler.from_yaml(BY_LABEL)

    with pytest.raises(UnavailableError, match="no endpoint serves model m"):
        scheduler.decide(llmd.Request("m"), [])
    with pytest.raises(ExhaustedError, match="label-selector-filter .* leaves none of 2 endpoints"):
        scheduler.decide(llmd.Request("m"), endpoints(2))
    there = llmd.Endpoint("there", "h:1", labels={"zone": "a"})
    assert scheduler.decide(llmd.Request("m"), [*endpoints(2), there]).endpoint is there


def test_what_is_no_request_and_what_is_no_endpoint_are_refused() -> None:
    scheduler = llmd.Scheduler.from_yaml(LEAST_BUSY)

    with pytest.raises(TypeError) as caught:
        scheduler.decide("m", endpoints(1))  # type: ignore[arg-type]
    assert "request" in said(caught)
    with pytest.raises(TypeError) as caught:
        scheduler.decide(llmd.Request("m"), [None])  # type: ignore[list-item]
    assert "endpoints[0] is NoneType, expected Endpoint" in said(caught)


def test_a_new_configuration_replaces_the_old_between_two_requests() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(LEAST_BUSY), endpoints(2)
    pool[0].set_metrics(waiting_requests=5)
    pool[1].set_metrics(waiting_requests=0)
    decision = scheduler.decide(llmd.Request("m"), pool)
    before = str(decision.explain())

    scheduler.reload(QUEUE)

    assert scheduler.needs.metrics and "queue-scorer" in scheduler.describe()
    assert str(decision.explain()) == before, "a decision keeps what it was made by"
    assert sum(endpoint.in_flight[0] for endpoint in pool) == 1
    assert all(scheduler.decide(llmd.Request("m"), pool).endpoint is pool[1] for _ in range(9))


@pytest.mark.parametrize(("text", "kind"), [(HEAD + "plugin: []\n", InvalidError), (PRECISE, InvalidError)])
def test_a_bad_configuration_leaves_the_old_one_in_place(text: str, kind: type[Exception]) -> None:
    scheduler = llmd.Scheduler.from_yaml(QUEUE)
    before = scheduler.describe()

    with pytest.raises(kind):
        scheduler.reload(text)

    assert scheduler.describe() == before
    assert scheduler.decide(llmd.Request("m"), endpoints(1)).endpoint.name == "engine-0"


def test_eight_threads_share_a_scheduler_and_lose_nothing() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX), llmd.Pool(endpoints(5))
    failures: list[BaseException] = []
    start = threading.Barrier(9)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        held: list[llmd.Decision] = []
        try:
            start.wait()
            for _ in range(400):
                tokens = range(rng.randrange(3) * 1000, 4000 + rng.randrange(2) * 20_000)
                held.append(scheduler.decide(llmd.Request("m", tokens=tokens), pool))
                decision = held[rng.randrange(len(held))]
                try:
                    rng.choice([decision.advance, decision.first_token, decision.end, decision.release])()
                except StaleError:
                    held.remove(decision)
                str(decision.explain())
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
        for thread in threads:
            thread.start()
        start.wait()
        for nth in range(20):
            scheduler.reload(LEAST_BUSY if nth % 2 else REMEMBERED_PREFIX)
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    assert failures == []
    assert [endpoint.in_flight for endpoint in pool] == [(0, 0)] * 5


def in_child(work: object) -> bytes:
    """What `work` returns in a forked child, which must end by itself."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, repr(work()).encode())  # type: ignore[operator]
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


def test_a_forked_child_goes_on_with_what_it_inherited() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX), endpoints(3)
    decision = scheduler.decide(llmd.Request("m", tokens=range(256)), pool)

    def work() -> tuple[bool, int, int]:
        with scheduler.decide(llmd.Request("m", tokens=range(256)), pool) as another:
            hit = another.predicted_hit_tokens
        decision.end()
        return another.endpoint is decision.endpoint, hit, sum(endpoint.in_flight[0] for endpoint in pool)

    assert in_child(work) == b"(True, 192, 0)"
    assert decision.endpoint.in_flight[0] == 1, "what the child counts is its own"


def test_a_child_draws_ids_and_choices_of_its_own() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(QUEUE), endpoints(64)

    def draw() -> list[str]:
        return [llmd.Request("m").id] + [scheduler.decide(llmd.Request("m"), pool).endpoint.name for _ in range(16)]

    child = in_child(draw)
    parent = repr(draw()).encode()
    assert child.split(b",")[0] != parent.split(b",")[0]
    assert child.split(b",")[1:] != parent.split(b",")[1:]


def test_a_child_that_was_forked_amid_a_decision_is_told_so_and_never_hangs() -> None:
    # Large pools are looked at without the GIL, so that this thread can fork meanwhile.
    scheduler, pool = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX), llmd.Pool(endpoints(3000))
    request = llmd.Request("m", tokens=range(30_000))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            scheduler.decide(request, pool).release()

    def ask() -> str:
        try:
            with scheduler.decide(request, pool):
                return "decided"
        except UnavailableError as error:
            assert "make it anew" in str(error)
            again = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX)
            return "refused" if again.decide(request, pool) else "?"

    thread = threading.Thread(target=work)
    thread.start()
    try:
        answers = {in_child(ask) for _ in range(20)}
    finally:
        over.set()
        thread.join()

    assert answers <= {b"'decided'", b"'refused'"} and b"'refused'" in answers
