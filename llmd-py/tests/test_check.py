"""Everything that is wrong with a configuration, at once."""

from __future__ import annotations

import llmd_py as llmd
import pytest
from llmd_py.errors import LlmdError

from routing import DISAGGREGATED, HEAD, LEAST_BUSY, PRECISE, SESSIONS

WRONG = HEAD + """\
plugins:
- type: queue-scorrer
- type: random-picker
  parameters: {maxNumOfEndpoints: many}
- type: kv-cache-utilization-scorer
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: kv-cache-utilization-scorer, weigth: 2}
  - {pluginRef: nobody}
"""


def test_every_problem_has_its_place_in_the_order_of_the_text() -> None:
    problems = llmd.check_config(WRONG)

    assert [problem.path for problem in problems] == [
        "plugins[0].type",
        "plugins[1].parameters.maxNumOfEndpoints",
        "schedulingProfiles[0].plugins[0].weigth",
        "schedulingProfiles[0].plugins[1].pluginRef",
    ]
    places = [(problem.line or 0, problem.column or 0) for problem in problems]
    assert places == sorted(places) and [line for line, _ in places] == [4, 6, 11, 12]
    assert {problem.kind for problem in problems} == {"invalid"}
    assert "did you mean `queue-scorer`" in problems[0].message, problems[0].message
    assert str(problems[0]) == f"line 4, column {problems[0].column}: plugins[0].type: {problems[0].message}"
    assert repr(problems[0]).startswith('Problem("line 4, column')
    assert problems == llmd.check_config(WRONG)
    with pytest.raises(LlmdError) as caught:
        llmd.Scheduler.from_yaml(WRONG)
    assert str(caught.value) == str(problems[0])


def test_nothing_is_wrong_with_what_a_scheduler_is_made_of() -> None:
    for text in (LEAST_BUSY, DISAGGREGATED, PRECISE):
        assert llmd.check_config(text) == []
    assert llmd.check_config(SESSIONS, allow_experimental=True) == []


def test_what_there_is_beside_the_configuration_counts() -> None:
    [without] = llmd.check_config(PRECISE, index=False)
    assert "precise-prefix-cache-producer" in str(without)
    problems = llmd.check_config(SESSIONS)
    assert problems and all("experimental" in problem.message for problem in problems)
    [nothing] = llmd.check_config("")
    assert (nothing.line, nothing.column, nothing.path) == (None, None, "")
