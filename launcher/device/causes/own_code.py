"""Errors of torch, detectron2 and OpenCV that people meet in their own programs, and the launcher avoids."""

from __future__ import annotations

from launcher.device.causes.cause import Cause

CAUSES = (
    Cause(
        code="run.invalid_ordinal",
        title="more GPUs were asked for than are visible",
        meaning="A process was assigned a GPU that it is not shown.",
        fix="a smaller device.count; `launcher doctor` lists what is usable",
        symptoms=(
            "invalid device ordinal",
            "GPU device may be out of range, do you have enough GPUs",
            "launch.py…AssertionError",
        ),
    ),
    Cause(
        code="run.fork_after_cuda",
        title="a process was forked after it had used CUDA",
        meaning="CUDA does not survive a fork. In your own code even torch.cuda.is_available() before the fork is "
        "enough.",
        fix="touch CUDA only in the processes that train, or start them with `spawn`; the launcher never touches it "
        "itself",
        symptoms=("Cannot re-initialize CUDA in forked subprocess",),
    ),
    Cause(
        code="run.visible_changed",
        title="CUDA_VISIBLE_DEVICES was changed too late",
        meaning="Once CUDA was used, a change counts for half of torch only.",
        fix="set it before the program starts; better use device.ids",
        symptoms=("changing env variable CUDA_VISIBLE_DEVICES after program start",),
    ),
    Cause(
        code="run.nvml_assert",
        title="an out-of-memory error hidden behind an old NVML",
        meaning="torch wanted to explain that memory ran out and asked NVML for what this driver does not have.",
        fix="treat it as out of memory (run.out_of_memory); a newer driver gives the real message",
        symptoms=(
            "nvmlDeviceGetNvLinkRemoteDeviceType_ INTERNAL ASSERT FAILED",
            "driver_api.cpp…INTERNAL ASSERT FAILED",
        ),
    ),
    Cause(
        code="run.cuda_checkpoint",
        title="a checkpoint with GPU tensors on a machine without",
        meaning="The file was saved with tensors on a GPU and is loaded as it is.",
        fix="in your own code torch.load(..., map_location='cpu'); the launcher does so",
        symptoms=("Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False",),
    ),
    Cause(
        code="run.amp_on_cpu",
        title="mixed precision on the CPU",
        meaning="detectron2's mixed precision (AMP) requires CUDA.",
        fix="SOLVER.AMP.ENABLED=false; the launcher switches it off on the CPU and reports it",
        symptoms=("[AMPTrainer] CUDA is required for AMP training",),
    ),
    Cause(
        code="run.sync_bn",
        title="a synchronized norm on the CPU",
        meaning="torch's SyncBatchNorm refuses tensors on the CPU as soon as there is a process group.",
        fix="train with the launcher, which takes BN for one process on the CPU and detectron2's naiveSyncBN for "
        "several, and reports it; in your own code NORM=BN or naiveSyncBN",
        symptoms=("SyncBatchNorm expected input tensor to be on GPU",),
    ),
    Cause(
        code="run.deform_on_cpu",
        title="deformable convolutions on the CPU",
        meaning="detectron2's operator has no backward pass on the CPU.",
        fix="train with the launcher, which takes torchvision's operator there; in your own code a model without "
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE, or a GPU",
        symptoms=("Deformable Conv is not supported on CPUs",),
    ),
    Cause(
        code="run.nccl_on_cpu",
        title="NCCL without GPUs",
        meaning="Several processes on the CPU must communicate through gloo.",
        fix="with the launcher device=cpu device.count=N, which chooses it; in your own code backend='gloo'",
        symptoms=("ProcessGroupNCCL is only supported with GPUs, no GPUs found",),
    ),
    Cause(
        code="run.opencv_library",
        title="a library of the system is missing that OpenCV needs",
        meaning="detectron2 uses OpenCV, whose usual package opens windows and needs libraries of a desktop, which "
        "containers lack. It has nothing to do with the GPU.",
        fix="`pip uninstall opencv-python; pip install opencv-python-headless`, or on Debian and Ubuntu `apt-get "
        "install libgl1 libglib2.0-0 libsm6 libxext6`",
        symptoms=(
            "libGL.so.1: cannot open shared object file",
            "libgthread-2.0.so.0: cannot open shared object file",
            "libglib-2.0.so.0: cannot open shared object file",
            "libSM.so.6: cannot open shared object file",
            "libXext.so.6: cannot open shared object file",
        ),
    ),
)
