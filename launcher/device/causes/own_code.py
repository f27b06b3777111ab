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
        symptoms=(
            "changing env variable CUDA_VISIBLE_DEVICES after program start",
            "device < num_gpus INTERNAL ASSERT FAILED",
            "num_gpus…INTERNAL ASSERT FAILED",
        ),
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
        meaning="detectron2's own trainer has mixed precision (AMP) for CUDA only.",
        fix="train with the launcher, which runs it in bfloat16 on a CPU where that is faster, and otherwise switches "
        "it off and reports it; in your own code SOLVER.AMP.ENABLED=false",
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
    Cause(
        code="run.unused_parameters",
        title="parameters of the model took no part in the loss",
        meaning="DistributedDataParallel waits for the gradient of every parameter, and some had none in the iteration "
        "before.",
        fix="in detectron2's own trainer `find_unused_parameters=True` of `create_ddp_model`; the launcher looks for "
        "such parameters by itself",
        symptoms=(
            "Expected to have finished reduction in the prior iteration before starting a new one",
            "parameters that were not used in producing loss",
        ),
    ),
    Cause(
        code="run.no_process_group",
        title="a model for several processes runs in a program that started one",
        meaning="SyncBN and other collective operations need a process group, which only a training of several "
        "processes has.",
        fix="with the launcher nothing, which normalizes in one process as BN does; in your own code NORM=BN, or "
        "detectron2.engine.launch",
        symptoms=("Default process group has not been initialized",),
    ),
    Cause(
        code="run.other_classes",
        title="the model predicts more classes than the data set of the evaluation has",
        meaning="The evaluator numbers the classes as the data set does: MODEL.ROI_HEADS.NUM_CLASSES is larger, or the "
        "weights are those of a model with other classes.",
        fix="set MODEL.ROI_HEADS.NUM_CLASSES (RETINANET.NUM_CLASSES) to the number of classes of the data set, which "
        "the launcher does for COCO-format files, and train the head for them",
        symptoms=("A prediction has class=…but the dataset only has",),
    ),
    Cause(
        code="run.two_devices",
        title="tensors on different devices met in one operation",
        meaning="Part of the model or of its input stayed on the CPU: as a rule a tensor that is made in `forward` or "
        "kept as a plain attribute, which `model.to(device)` does not move.",
        fix="make it with `device=x.device`, or register it with `register_buffer`; with device=cpu the launcher "
        "trains everything on the CPU",
        symptoms=(
            "Expected all tensors to be on the same device",
            "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
        ),
    ),
    Cause(
        code="run.unregistered",
        title="a data set of that name is not registered",
        meaning="detectron2 knows data sets by name in the process that registered them. A name was mistyped, or the "
        "module that registers it was not imported, or not in every process.",
        fix="with the launcher dataset=coco_json for COCO-format files, or imports=[MODULE] for the module that "
        "registers it; `launcher list datasets` has the names that detectron2 registers by itself",
        symptoms=("Dataset…is not registered! Available datasets are", "is not registered! Available datasets are"),
    ),
    Cause(
        code="run.unknown_key",
        title="the configuration sets a key that detectron2 does not have",
        meaning="The file was made for another project, which adds keys of its own, or for another version.",
        fix="with the launcher config_extensions=[MODULE:FUNCTION], the project's function that adds its keys, such as "
        "add_pointrend_config; or leave the key out; `launcher list settings WORD` finds the keys that there are",
        symptoms=("Non-existent config key:",),
    ),
    Cause(
        code="run.other_nvcc",
        title="the CUDA toolkit that compiles is of another version than torch's CUDA",
        meaning="torch compiles operators only with an nvcc of its CUDA's major version, and the one that was found "
        "(CUDA_HOME, or the first on the PATH) is of another. Only building needs it, not training: the version that "
        "`nvidia-smi` shows is the driver's and has nothing to do with it.",
        fix="`launcher install detectron2`, which compiles nothing; to compile all the same, `export "
        "CUDA_HOME=/usr/local/cuda-X.Y` with the toolkit of `python -c 'import torch; print(torch.version.cuda)'`, or "
        "a torch built for the toolkit that is there",
        symptoms=("The detected CUDA version…mismatches the version that was used to compile",),
    ),
    Cause(
        code="run.nvcc_arch",
        title="the CUDA toolkit cannot compile for this GPU",
        meaning="nvcc is older or newer than the architecture that it is asked for. Only building detectron2's or "
        "other operators needs it, not training.",
        fix="a toolkit that knows the GPU and fits torch.version.cuda, or TORCH_CUDA_ARCH_LIST with what it knows "
        "(such as `8.6+PTX`); or `launcher install detectron2`, which compiles nothing and lacks only rotated boxes",
        symptoms=("nvcc fatal : Unsupported gpu architecture", "Unsupported gpu architecture 'compute_"),
    ),
)
