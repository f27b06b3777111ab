"""detectron2's most asked errors, as people post them: with what stands around the one line that counts."""

from __future__ import annotations

import pytest

from launcher.device.causes.catalogue import BY_CODE
from launcher.device.causes.error_text import find_causes

TRACEBACK = 'Traceback (most recent call last):\n  File "tools/train_net.py", line 170, in <module>\n'
POSTED = [
    (
        TRACEBACK + '  File "/opt/conda/lib/python3.8/site-packages/torch/distributed/distributed_c10d.py", line 430\n'
        "    raise RuntimeError(\nRuntimeError: Default process group has not been initialized, please make sure to "
        "call init_process_group.",
        "run.no_process_group",
        "BN",
    ),
    (
        "[06/21 14:02:11 d2.evaluation.coco_evaluation]: Preparing results for COCO format ...\n" + TRACEBACK + "    "
        'f"A prediction has class={category_id}, "\nAssertionError: A prediction has class=10, but the dataset only '
        "has 3 classes and predicted class id should be in [0, 2].",
        "run.other_classes",
        "MODEL.ROI_HEADS.NUM_CLASSES",
    ),
    (
        "  Building wheel for detectron2 (setup.py) ... error\n  error: subprocess-exited-with-error\n      "
        "RuntimeError:\n      The detected CUDA version (10.1) mismatches the version that was used to compile\n      "
        "PyTorch (11.3). Please make sure to use the same CUDA versions.\n",
        "run.other_nvcc",
        "launcher install detectron2",
    ),
    (
        "running build_ext\nbuilding 'detectron2._C' extension\n/usr/local/cuda/bin/nvcc -DWITH_CUDA ...\n"
        "nvcc fatal   : Unsupported gpu architecture 'compute_86'\nninja: build stopped: subcommand failed.",
        "run.nvcc_arch",
        "launcher install detectron2",
    ),
    (
        TRACEBACK + "    losses.backward()\nRuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED\n"
        "You can try to repro this exception using the following code snippet.",
        "torch.cudnn",
        "unset LD_LIBRARY_PATH",
    ),
    (
        TRACEBACK + "    x = x * self.pixel_std\nRuntimeError: Expected all tensors to be on the same device, but "
        "found at least two devices, cuda:0 and cpu! (when checking argument for argument mat1 in method wrapper)",
        "run.two_devices",
        "register_buffer",
    ),
    (
        TRACEBACK + "    raise KeyError(\nKeyError: \"Dataset 'balloon_train' is not registered! Available datasets "
        'are: coco_2014_train, coco_2014_val, coco_2014_minival"',
        "run.unregistered",
        "dataset=coco_json",
    ),
    (
        TRACEBACK + "    raise KeyError('Non-existent config key: {}'.format(full_key))\nKeyError: 'Non-existent "
        "config key: MODEL.FCOS'",
        "run.unknown_key",
        "config_extensions",
    ),
    (
        "THCudaCheck FAIL file=/pytorch/aten/src/THC/THCGeneral.cpp line=50 error=999 : unknown error\n"
        + TRACEBACK
        + "RuntimeError: cuda runtime error (999) : unknown error at /pytorch/aten/src/THC/THCGeneral.cpp:50",
        "driver.uvm",
        "nvidia_uvm",
    ),
    (
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).\n"
        + TRACEBACK
        + "RuntimeError: DataLoader worker (pid 1337) is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory. Please try to raise your shared memory limit.",
        "shm.small",
        "--shm-size",
    ),
    (
        TRACEBACK + "RuntimeError: device >= 0 && device < num_gpus INTERNAL ASSERT FAILED at "
        '"/opt/conda/conda-bld/pytorch_1682343997789/work/aten/src/ATen/cuda/CUDAContext.cpp":50, please report a bug '
        "to PyTorch. device=1, num_gpus=1",
        "run.visible_changed",
        "device.ids",
    ),
    (
        TRACEBACK + "RuntimeError: Expected to have finished reduction in the prior iteration before starting a new "
        "one. This error indicates that your module has parameters that were not used in producing loss. You can "
        "enable unused parameter detection by passing the keyword argument `find_unused_parameters=True` to "
        "`torch.nn.parallel.DistributedDataParallel`",
        "run.unused_parameters",
        "find_unused_parameters=True",
    ),
]


@pytest.mark.parametrize(("text", "code", "way_out"), POSTED, ids=[code for _, code, _ in POSTED])
def test_a_posted_error_leads_to_its_cause_and_a_way_out(text: str, code: str, way_out: str):
    assert find_causes(text)[0].cause.code == code
    assert way_out in BY_CODE[code].fix


@pytest.mark.parametrize(
    ("text", "code"), [(text, code) for text, code, _ in POSTED], ids=[code for _, code, _ in POSTED]
)
def test_it_does_so_however_the_lines_are_broken(text: str, code: str):
    assert code in {match.cause.code for match in find_causes(text.replace(" ", "\n"))}
