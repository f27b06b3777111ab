"""How trials on a real Slurm are counted."""

from __future__ import annotations

from xml.etree import ElementTree

from scripts.reliability.result import Row
from scripts.reliability.slurm import rows_of

REPORT = """
<testsuites><testsuite>
  <testcase name="test_a_disturbed_job_is_requeued[1-two_nodes-kill_launcher]"/>
  <testcase name="test_a_job_outlives_the_controller[1-one_process]"/>
  <testcase name="test_a_disturbed_job_is_requeued[2-two_nodes-kill_launcher]">
    <failure message="AssertionError: assert 'FAILED'&#10;  == 'COMPLETED'">the traceback</failure>
  </testcase>
  <testcase name="test_a_job_outlives_the_controller[2-one_process]"/>
  <testcase name="test_a_job_stops_before_its_time_limit[two_nodes]"><skipped message="no Slurm"/></testcase>
</testsuite></testsuites>
"""


def test_trials_of_one_disturbance_are_counted_together_and_misses_named():
    rows = list(rows_of(ElementTree.fromstring(REPORT).iter("testcase")))

    assert rows == [
        Row(
            part="slurm",
            tried="a disturbed job is requeued (two nodes, kill launcher)",
            measured="1 of 2 as expected",
            misses=(
                "test_a_disturbed_job_is_requeued[2-two_nodes-kill_launcher]: "
                "AssertionError: assert 'FAILED' == 'COMPLETED'",
            ),
        ),
        Row(part="slurm", tried="a job outlives the controller (one process)", measured="2 of 2 as expected"),
        Row(part="slurm", tried="a job stops before its time limit (two nodes)", measured="no Slurm"),
    ]
