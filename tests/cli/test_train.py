"""What a job of a sweep leaves behind as its command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.cli.train import command_of_job
from tests.values import TYPED, a_request


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (("launcher", "train", "-m", "experiment=demo", "SEED=1,2"), ()),
        (("launcher", "train", "--config-dir", "my", "--multirun", "SEED=1,2"), ("--config-dir", "my")),
    ],
)
def test_a_job_is_trained_again_by_a_command_without_the_sweep(command, flags):
    request = a_request(
        {}, typed=replace(TYPED, overrides=("experiment=demo", "SEED=1"), folder="/runs/sweep-x/SEED=1")
    )

    assert command_of_job(request, command) == ("launcher", "train", *flags, "experiment=demo", "SEED=1")
