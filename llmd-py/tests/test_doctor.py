"""The doctor finds what is set wrong on engines, says what to change, and ends whatever they answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from llmd_py.doctor import Engine, Finding, Level, machine, metrics, report, transports
from llmd_py.doctor.checkup import check_up
from llmd_py.doctor.handed import Handed
from pretended import Pretended, closed_port, serving
from programs import DEADLINE, FIXTURES

#: What a prefiller of llmd's said, in vLLM 0.32 with a tiny model: its grant names shared memory and TCP.
GRANT = (
    "AWQAAAAwdQAAAQAAAAAAAAAAAAAAAACqAExLVmcBJb-YogiNUi-qe0v-lmg9ngIDc2htIS90bXAvbGxtZC0wLzI1YmY5OGEyMDg4ZDUyMmYuc29jawN0Y3APMTI3LjAuMC4x"
    "OjM0MDYzAAABLm1zG9xnHs7YaAKMTgruw7DqAQKsAgIBAYBAAAAAgICsAoCAAYBAgECAQAAldmxsbS04YjgyMGJlZjU2YjJjNTRkMDY5ZjlmOGE0ZjQyMzQzMgQCAAAA"
)


@pytest.fixture
def pair() -> Iterator[tuple[Pretended, Pretended]]:
    """One that prefills and one that decodes, both as they should be, but for events."""
    prefill, decode = Pretended(), Pretended()
    with ExitStack() as stack:
        stack.enter_context(serving(prefill))
        stack.enter_context(serving(decode))
        yield prefill, decode


def found(*engines: Pretended, within: float = 20.0) -> list[Finding]:
    names = ["engine"] if len(engines) == 1 else ["prefill", "decode"]
    return list(check_up([Engine(name, engine.url) for name, engine in zip(names, engines, strict=True)], within))


def wrong(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings if finding.level is Level.WRONG}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "llmd_py.doctor", *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_nothing_is_wrong_with_a_pair_that_hands_over(pair: tuple[Pretended, Pretended]) -> None:
    findings = found(*pair)

    assert wrong(findings) == {}
    [handed_over] = [finding for finding in findings if finding.check == "hand-over"]
    assert handed_over.level is Level.OK
    assert "4096 bytes" in handed_over.found
    assert pair[1].prompts[-1] == pair[0].prompts[-1], "the decoder was sent another prompt than the prefiller"


def test_events_that_are_off_are_a_warning_that_names_the_flag(pair: tuple[Pretended, Pretended]) -> None:
    events = [finding for finding in found(pair[0]) if finding.check == "events"]

    assert [finding.level for finding in events] == [Level.WARNING]
    assert "--kv-events-config" in events[0].change


def test_an_engine_without_the_connector_is_told_how_to_load_it(pair: tuple[Pretended, Pretended]) -> None:
    pair[0].lends = False

    findings = wrong(found(*pair))

    assert set(findings) == {"connector"}
    assert '"kv_connector":"LlmdConnector"' in findings["connector"].change


def test_another_connector_is_not_taken_for_llmds(pair: tuple[Pretended, Pretended]) -> None:
    pair[0].connector = "nixl"

    assert "another connector" in wrong(found(pair[0]))["connector"].found


def test_blocks_of_another_size_are_found_on_both(pair: tuple[Pretended, Pretended]) -> None:
    pair[1].block = 32

    assert "--block-size" in wrong(found(*pair))["block size"].change


@pytest.mark.parametrize(("what", "flag"), [("model", "--model"), ("dtype", "--dtype"), ("packing", "processor")])
def test_what_differs_in_the_caches_is_named(pair: tuple[Pretended, Pretended], what: str, flag: str) -> None:
    pair[1].content[what] = "something else"

    findings = wrong(found(*pair))

    assert flag in findings[what].change
    assert "something else" in findings[what].found


@pytest.mark.parametrize(
    ("counted", "said"),
    [("offers_unfitting", "not like"), ("fetches_denied", "key"), ("fetches_peer_lost", "VLLM_HOST_IP"), ("fetches_timeout", "fetch_within")],
)
def test_a_prompt_that_is_computed_again_is_wrong_and_says_why(pair: tuple[Pretended, Pretended], counted: str, said: str) -> None:
    pair[1].counts = {counted: 1, "requests_recomputed": 1}

    finding = wrong(found(*pair))["hand-over"]

    assert said in finding.found + finding.change


def test_a_version_that_was_not_tested_is_a_warning(pair: tuple[Pretended, Pretended]) -> None:
    pair[0].version = "0.21.0"

    [version] = [finding for finding in found(pair[0]) if finding.check == "version"]

    assert version.level is Level.WARNING
    assert "older" in version.found


def test_an_engine_that_is_not_there_costs_its_own_checks_and_no_others(pair: tuple[Pretended, Pretended]) -> None:
    gone = Pretended(url=f"http://127.0.0.1:{closed_port()}")

    findings = found(gone, pair[1])

    assert {(finding.engine, finding.check) for finding in findings if finding.level is Level.WRONG} == {("prefill", "health")}
    assert any(finding.engine == "decode" and finding.check == "connector" for finding in findings)


@pytest.mark.parametrize("path", ["/version", "/v1/models", "/kv_event_sources", "/metrics", "/v1/completions"])
@pytest.mark.parametrize("answer", [(500, "oh"), (200, "{"), (200, "[]"), (200, '{"data":[3]}'), (200, "\0" * 99)])
def test_whatever_is_answered_is_a_finding(pair: tuple[Pretended, Pretended], path: str, answer: tuple[int, str]) -> None:
    pair[0].answers[path] = answer

    findings = found(pair[0])

    assert not any("the check failed" in finding.found for finding in findings)
    assert any(finding.check == "connector" for finding in findings) or path in ("/metrics", "/v1/models")


def test_an_engine_that_never_answers_ends_a_check_by_its_deadline(pair: tuple[Pretended, Pretended]) -> None:
    pair[0].hang = threading.Event()

    assert "had not ended after 0.5 s" in wrong(found(pair[0], within=0.5))["connector"].found


def test_a_key_is_sent_where_it_is_given(pair: tuple[Pretended, Pretended], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")

    done = command(pair[0].url, "--api-key-file", str(tmp_path / "key"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert pair[0].keys == {"Bearer secret"}
    assert "secret" not in done.stdout


def test_the_exit_code_says_whether_something_is_wrong(pair: tuple[Pretended, Pretended]) -> None:
    well = command(pair[0].url, pair[1].url)
    pair[1].block = 64
    ill = command(pair[0].url, pair[1].url, "--json")

    assert (well.returncode, well.stderr) == (0, ""), well.stdout
    assert well.stdout.splitlines()[-1].endswith("0 wrong")
    assert (ill.returncode, ill.stderr) == (1, "")
    said = json.loads(ill.stdout)
    assert said["ok"] is False
    assert {"level": "wrong", "check": "block size", "engine": ""}.items() <= next(
        finding for finding in said["findings"] if finding["check"] == "block size"
    ).items()


@pytest.mark.parametrize(
    "arguments", [[], ["a:1", "b:2", "c:3"], ["ftp://a"], ["http://a:b"], ["a:1", "--timeout", "0"], ["a:1", "--api-key-file", "/nowhere"]]
)
def test_wrong_arguments_end_with_2_and_a_word(arguments: list[str]) -> None:
    done = command(*arguments)

    assert done.returncode == 2
    assert "usage: python -m llmd_py.doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_captured_page_of_metrics_is_read() -> None:
    samples = metrics.parse((FIXTURES / "vllm-0.32/metrics.txt").read_text())

    assert metrics.labels(samples, "vllm:cache_config_info")["block_size"] == "32"
    assert metrics.total(samples, "vllm:num_requests_running") == 0
    assert len({sample.name for sample in samples}) > 50


def test_labels_are_read_as_they_were_written() -> None:
    [sample] = metrics.parse('a:b{x="1,2}",y="say \\"hi\\"\\\\"} 2.5e3 1700000000\nnonsense\nc{} nothing\n')

    assert (sample.labels, sample.value) == ({"x": "1,2}", "y": 'say "hi"\\'}, 2500.0)


def test_a_grant_says_where_its_agent_is_found() -> None:
    handed = Handed({"connector": "llmd", "grant": GRANT})

    assert handed.addresses() == [("shm", "/".join(["", "tmp", "llmd-0", "25bf98a2088d522f.sock"])), ("tcp", "127.0.0.1:34063")]
    assert [Handed({"grant": text}).addresses() for text in ("", "AA", GRANT[:-9], "ÄÖ", None)] == [[]] * 5


def test_an_address_that_no_other_machine_reaches_is_wrong() -> None:
    one, other = Engine("prefill", "http://10.9.0.1:1"), Engine("decode", "http://10.9.0.2:1")
    one.handed = other.handed = Handed({"grant": GRANT})

    findings = wrong(list(transports.transports([one, other])))

    assert "VLLM_HOST_IP" in findings["tcp"].change


def test_a_machine_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nHugePages_Total:      8\nHugePages_Free:       3\n")

    findings = list(machine.machine(shm=str(tmp_path / "none"), meminfo=str(tmp_path / "meminfo")))

    assert [finding.check for finding in findings] == ["memlock", "/dev/shm", "huge pages"]
    assert findings[1].level is Level.WARNING
    assert findings[2].found == "3 of 8 are free"
    assert machine.is_here("127.0.0.1")
    assert not machine.is_here("192.0.2.1")


def test_a_finding_is_one_line() -> None:
    assert report.line(Finding(Level.WRONG, "a", "one\ntwo", "do it")).count("\n") == 0
