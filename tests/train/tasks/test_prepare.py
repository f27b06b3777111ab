from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from detectron2.config import CfgNode, get_cfg
from torch.nn import Module

from launcher.errors import ExitCode, TrainingFailedError
from launcher.run.heartbeat import Heartbeat
from launcher.signals import handling
from launcher.train import Trainer
from launcher.train.stop import STOP_SIGNALS, Stop
from launcher.train.tasks.prepare import load_model


class Waiting(Trainer):
    """A stop comes while this one waits for weights."""

    @classmethod
    def build_model(cls, cfg: CfgNode) -> Module:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the stop was not heard")


@pytest.fixture
def _listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stop = Stop()
    monkeypatch.setattr("launcher.train.tasks.prepare.STOP", stop)
    with handling(dict.fromkeys(STOP_SIGNALS, signal.SIG_DFL)):
        stop.note_signals()
        yield


@pytest.mark.usefixtures("_listening")
def test_an_evaluation_or_prediction_hears_a_stop_while_it_waits_for_weights():
    with pytest.raises(TrainingFailedError, match="while the weights were loaded") as raised:
        load_model(Waiting, get_cfg(), Heartbeat(None), averaged=False)

    assert raised.value.exit_code == ExitCode.resumable
