"""Slurm's notation for many hosts, compared with `scontrol show hostnames`."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.device.hosts import expand_hosts


@pytest.mark.parametrize(
    ("listed", "hosts"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-11,3],login", ["n08", "n09", "n10", "n11", "n3", "login"]),
        ("rack[1-2]n[1,3]", ["rack1n1", "rack1n3", "rack2n1", "rack2n3"]),
        ("gpu-[1-2]-ib", ["gpu-1-ib", "gpu-2-ib"]),
        ("node7.site.org,node9.site.org", ["node7.site.org", "node9.site.org"]),
        ("", []),
    ],
)
def test_ranges_are_written_out_with_their_zeros(listed: str, hosts: list[str]):
    assert expand_hosts(listed) == hosts


NUMBERS = st.integers(0, 120).flatmap(
    lambda first: st.tuples(st.just(first), st.integers(first, first + 5), st.integers(1, 4))
)
RANGES = NUMBERS.map(
    lambda one: f"{one[0]:0{one[2]}}" + (f"-{one[1]:0{max(one[2], len(str(one[0])))}}" if one[1] > one[0] else "")
)
PREFIXES = st.from_regex(r"[a-z]{1,4}(-[a-z]{1,2})?", fullmatch=True)
ENTRIES = st.one_of(
    PREFIXES,
    st.tuples(PREFIXES, st.integers(0, 9)).map(lambda pair: f"{pair[0]}{pair[1]}"),
    st.tuples(PREFIXES, st.lists(RANGES, min_size=1, max_size=3)).map(lambda pair: f"{pair[0]}[{','.join(pair[1])}]"),
    st.tuples(PREFIXES, RANGES, PREFIXES, RANGES).map(lambda parts: f"{parts[0]}[{parts[1]}]{parts[2]}[{parts[3]}]"),
)


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which scontrol writes hosts out without a cluster."""
    if shutil.which("scontrol") is None:
        pytest.skip("there is no scontrol; make test-cluster installs Slurm")
    conf = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=localhost\nNodeName=n1\n")
    return {**os.environ, "SLURM_CONF": str(conf)}


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=3).map(",".join))
def test_they_are_what_slurm_writes_out(scontrol: dict[str, str], listed: str):
    command = ["scontrol", "show", "hostnames", listed]

    done = subprocess.run(command, env=scontrol, capture_output=True, text=True, check=True)

    assert expand_hosts(listed) == done.stdout.split()
