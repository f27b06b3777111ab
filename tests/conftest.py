"""What several rooms' tests need: small real data, a model that trains in seconds, and the launcher as a process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.forked import run_launcher_and_workers

REPOSITORY = Path(__file__).parent.parent

# A Mask R-CNN of a real shape but with few channels: about a million parameters, tenths of a second per iteration.
TINY_MODEL = (
    "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
    'MODEL.WEIGHTS=""',
    "MODEL.BACKBONE.FREEZE_AT=0",
    "MODEL.RESNETS.NORM=BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS=8",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=16",
    "MODEL.RESNETS.WIDTH_PER_GROUP=4",
    "MODEL.FPN.NORM=BN",
    "MODEL.FPN.OUT_CHANNELS=16",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN=50",
    "MODEL.RPN.POST_NMS_TOPK_TEST=20",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE=16",
    "MODEL.ROI_BOX_HEAD.FC_DIM=32",
    "MODEL.ROI_MASK_HEAD.CONV_DIM=16",
    "MODEL.ROI_MASK_HEAD.NUM_CONV=1",
    "INPUT.MIN_SIZE_TRAIN=[96]",
    "INPUT.MIN_SIZE_TEST=96",
    "TEST.DETECTIONS_PER_IMAGE=5",
    "DATALOADER.NUM_WORKERS=0",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.BASE_LR=0.001",
    "SOLVER.STEPS=[]",
    "SOLVER.MAX_ITER=6",
    "SEED=3",
    "logging.images=0",
    "logging.period=1",
)

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def _no_log_handlers_left_behind() -> Iterator[None]:
    """Hydra, run in this process, leaves a handler on the stream that pytest closes after the test."""
    yield
    for handler in list(logging.root.handlers):
        if type(handler) is logging.StreamHandler:
            logging.root.removeHandler(handler)


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen demo images of 96 pixels, six of them for training."""
    pytest.importorskip("sklearn", reason="scikit-learn, which brings the demo's images, is not installed")
    from launcher.data.demo import write_demo

    folder = tmp_path_factory.mktemp("data") / "demo"
    write_demo(folder, num_train=6, num_val=6, size=96)
    return folder


@pytest.fixture(scope="session")
def demo_settings(small_demo: Path) -> tuple[str, ...]:
    """The settings that train the tiny model on the small demo."""
    return (
        *TINY_MODEL,
        "dataset=coco_json",
        "dataset.name=small",
        *(f"dataset.{split}.json={small_demo / split}.json" for split in ("train", "val")),
        *(f"dataset.{split}.images={small_demo / split}" for split in ("train", "val")),
    )


@pytest.fixture(scope="session")
def launcher_environment() -> dict[str, str]:
    """The environment of a shell in which `python -m launcher` works from any folder."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def launch(tmp_path: Path, launcher_environment: dict[str, str]) -> Launch:
    """Run `python -m launcher ARGUMENTS` in a folder of its own and return what it printed and its exit code."""

    def run(
        *arguments: str, module: str = "launcher", timeout_s: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={**launcher_environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run


@pytest.fixture
def launch_warm(tmp_path: Path, launcher_environment: dict[str, str]) -> Launch:
    """The same from processes that have torch already, for tests of what is trained and not of how it is started."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environ = {**launcher_environment, **environment}
        return run_launcher_and_workers(arguments, folder=tmp_path, environ=environ)

    return run
