"""What keeps detectron2 or its compiled operators from working. Plain models do without the operators."""

from __future__ import annotations

import re

from launcher.device.arches import cuda_version, runs_on
from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import (
    died_importing,
    driver_shows_gpus,
    how_it_ended,
    only_ops_failed,
    ops_load,
)
from launcher.device.causes.texts import BAD_FUNCTION, NO_IMAGE
from launcher.device.causes.torch import CXX_RUNTIME, UNDEFINED_SYMBOL
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts, DriverGpu
from launcher.device.gpus import merge_gpus

REBUILD = "`rm -rf build detectron2/*.so; pip install --no-build-isolation .` in detectron2's sources"
WITHOUT = "without them only rotated boxes do not work, and COCO evaluation is slower"
ROTATED_ONLY = "only rotated boxes need them on a GPU"
ONLY_ROTATED = (
    "On a GPU only rotated boxes need them; for deformable convolutions the launcher takes torchvision's operator."
)
NO_C = "cannot import name '_C' from 'detectron2'"
DEFORM = "Cannot import 'detectron2._C', therefore 'DeformConv' is not available"
CUDART_NOT_FOUND = re.compile(r"libcudart\.so[\w.]*: cannot open")
OPS = ("detectron2.ops_*",)


# The package


def find_missing(facts: DeviceFacts) -> Evidence | None:
    if facts.packages.detectron2_folder:
        return None
    return Evidence(lines=(f"Python {facts.platform.python} finds no package of that name",))


MISSING = Cause(
    code="detectron2.missing",
    title="detectron2 is not installed",
    meaning="This Python finds no package of that name.",
    fix="`launcher install detectron2`, which needs no compiler; for rotated boxes compile it instead, with the torch "
    "that is installed: `pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2.git`",
    symptoms=("No module named 'detectron2'",),
    find=find_missing,
    hides=("detectron2.*",),
    fatal=True,
)


def find_broken(facts: DeviceFacts) -> Evidence | None:
    if facts.torch is None or not (facts.torch.detectron2_error or died_importing(facts, "import detectron2")):
        return None
    error = facts.torch.detectron2_error or how_it_ended(facts.torch.end)
    return Evidence(lines=(error, facts.packages.detectron2_folder))


BROKEN = Cause(
    code="detectron2.broken",
    title="detectron2 does not import",
    meaning="Something that detectron2 needs is missing, or its files are damaged.",
    fix="install what the error names, or `launcher install detectron2 --again`",
    symptoms=("No module named 'fvcore'", "No module named 'iopath'", "No module named 'pkg_resources'"),
    find=find_broken,
    hides=("detectron2.*",),
    fatal=True,
)


# Its operators are not found


def find_shadowed(facts: DeviceFacts) -> Evidence | None:
    packages = facts.packages
    if packages.detectron2_compiled or not (packages.detectron2_checkout and packages.detectron2_elsewhere):
        return None
    hidden = ", ".join(packages.detectron2_elsewhere)
    return Evidence(lines=(f"imported: {packages.detectron2_folder}", f"hidden: {hidden}"))


SHADOWED = Cause(
    code="detectron2.shadowed",
    severity=Severity.warning,
    title="a folder of detectron2's sources hides the installed detectron2",
    meaning="Started in a folder with detectron2's sources, Python imports these, which hold no compiled operators.",
    fix="start from another folder, or take the sources off PYTHONPATH",
    symptoms=(NO_C, DEFORM),
    find=find_shadowed,
    hides=("detectron2.no_ops",),
)


def find_no_ops(facts: DeviceFacts) -> Evidence | None:
    packages = facts.packages
    if not packages.detectron2_folder or packages.detectron2_compiled:
        return None
    return Evidence(lines=(f"detectron2 {packages.detectron2}: no _C in its folder",))


NO_OPS = Cause(
    code="detectron2.no_ops",
    severity=Severity.info,
    title="detectron2 has no compiled operators: rotated boxes do not work, COCO evaluation is slower",
    meaning="Only rotated boxes need them. COCO evaluation is slower without; for deformable convolutions the launcher "
    "takes torchvision's operator.",
    fix="nothing, unless a model has rotated boxes: build detectron2 from source for those, with the torch that it "
    "will run with",
    symptoms=(
        NO_C,
        "is not available. detectron2 is not compiled successfully, please build following the instructions",
        DEFORM,
        "'_OpNamespace' 'detectron2' object has no attribute 'nms_rotated'",
        "'_OpNamespace' 'detectron2' object has no attribute",
    ),
    find=find_no_ops,
)


def find_other_python(facts: DeviceFacts) -> Evidence | None:
    if not facts.packages.detectron2_compiled or facts.packages.detectron2_fits:
        return None
    return _rebuilt(facts, f"none of them is for Python {facts.platform.python}")


OTHER_PYTHON = Cause(
    code="detectron2.ops_other_python",
    severity=Severity.warning,
    title="detectron2's compiled operators were built for another Python",
    meaning="The compiled file carries another Python's version in its name, so that this one does not see it.",
    fix=f"build them again with this Python, compiler and torch: {REBUILD}; {WITHOUT}",
    symptoms=(NO_C,),
    find=find_other_python,
    unless=(ops_load,),
    hides=OPS,
)


# They do not load


def _ops_error(facts: DeviceFacts) -> str:
    """Where nothing is compiled, that `_C` does not import is no news."""
    return facts.torch.ops_error if facts.torch and facts.packages.detectron2_compiled else ""


def _rebuilt(facts: DeviceFacts, why: str) -> Evidence:
    packages = facts.packages
    return Evidence(lines=(why, f"{', '.join(packages.detectron2_compiled)} in {packages.detectron2_folder}"))


def find_old_cxx(facts: DeviceFacts) -> Evidence | None:
    error = _ops_error(facts)
    return _rebuilt(facts, error) if CXX_RUNTIME.search(error) else None


OLD_CXX = Cause(
    code="detectron2.ops_cxx_runtime",
    severity=Severity.warning,
    title="detectron2's compiled operators need a newer C++ runtime than this system has",
    meaning="They were built by a newer compiler than this system's libstdc++ knows.",
    fix=f"build them on this system: {REBUILD}; or install a newer libstdc++; {WITHOUT}",
    symptoms=("GLIBCXX_…not found (required by…detectron2/_C", "GLIBCXX_…not found", "CXXABI_…not found"),
    find=find_old_cxx,
    hides=OPS,
)


def ops_pass(facts: DeviceFacts) -> bool:
    """They gave the right results on a GPU."""
    return any("operators" in test.passed for test in (facts.torch.smoke_tests if facts.torch else ()))


def find_other_cuda(facts: DeviceFacts) -> Evidence | None:
    error = _ops_error(facts)
    built = cuda_version(facts.torch.ops_cuda.removeprefix("CUDA ") if facts.torch else "")
    needs = cuda_version(facts.packages.torch_cuda)
    differ = built[0] and needs[0] and built[0] != needs[0]
    if not (CUDART_NOT_FOUND.search(error) or differ):
        return None
    return _rebuilt(facts, error or f"built with CUDA {built[0]}.{built[1]}, torch with {needs[0]}.{needs[1]}")


OTHER_CUDA = Cause(
    code="detectron2.ops_other_cuda",
    severity=Severity.warning,
    title="detectron2's compiled operators were built with another CUDA than torch",
    meaning="They were built with a toolkit of another major version than torch's CUDA.",
    fix=f"build them again with the toolkit that fits torch.version.cuda: {REBUILD}; {WITHOUT}",
    symptoms=(
        "libcudart.so…cannot open shared object file",
        "Detectron2 CUDA Compiler…differs",
    ),
    find=find_other_cuda,
    unless=(ops_pass,),
    hides=OPS,
)


def find_other_torch(facts: DeviceFacts) -> Evidence | None:
    error = _ops_error(facts)
    return _rebuilt(facts, error) if UNDEFINED_SYMBOL.search(error) else None


OTHER_TORCH = Cause(
    code="detectron2.ops_other_torch",
    severity=Severity.warning,
    title="detectron2's compiled operators were built against another torch",
    meaning="torch was replaced after detectron2 had been built; its C++ interface differs between versions.",
    fix=f"build them again with this torch: {REBUILD}; {WITHOUT}",
    symptoms=("detectron2/_C…undefined symbol", "undefined symbol: _ZN3c10", "undefined symbol: _ZN2at"),
    find=find_other_torch,
    hides=OPS,
)


def find_broken_ops(facts: DeviceFacts) -> Evidence | None:
    died = facts.torch is not None and died_importing(facts, "import detectron2._C")
    error = _ops_error(facts) or (how_it_ended(facts.torch.end) if died and facts.torch else "")
    if not facts.packages.detectron2_compiled or not error:
        return None
    return _rebuilt(facts, error)


BROKEN_OPS = Cause(
    code="detectron2.ops_broken",
    severity=Severity.warning,
    title="detectron2's compiled operators do not load",
    meaning="The compiled file is there and cannot be imported, or kills the process.",
    fix=f"build them again with this Python, compiler and torch: {REBUILD}; {WITHOUT}",
    symptoms=("dynamic module does not define module export function",),
    find=find_broken_ops,
    hides=OPS,
)


# They load, and do not serve the GPU


def find_without_cuda(facts: DeviceFacts) -> Evidence | None:
    by_its_word = facts.torch.ops_cuda == "not available" if facts.torch else False
    no_code = facts.packages.detectron2_ops_gpu_code == () and not ops_pass(facts)
    if not driver_shows_gpus(facts) or not (by_its_word or no_code):
        return None
    sign = "_C.has_cuda() is False" if by_its_word else "there is no GPU code in its _C"
    return Evidence(lines=(f"detectron2 {facts.packages.detectron2}: {sign}",))


CPU_ONLY = Cause(
    code="detectron2.ops_cpu_only",
    severity=Severity.warning,
    title="detectron2's compiled operators were built without CUDA",
    meaning=f"detectron2's build adds CUDA only where it sees a GPU, or where FORCE_CUDA=1 is set. {ONLY_ROTATED}",
    fix=f"nothing, unless a model has rotated boxes ({ROTATED_ONLY}); then with nvcc on the PATH: "
    f"`export FORCE_CUDA=1`, {REBUILD}",
    symptoms=("Detectron2 is not compiled with GPU support", "Not compiled with GPU support"),
    find=find_without_cuda,
    hides=OPS,
)


def find_no_code(facts: DeviceFacts) -> Evidence | None:
    code = facts.packages.detectron2_ops_gpu_code
    shown = facts.driver.gpus if facts.driver else ()
    unserved = [gpu for gpu in shown if code and not runs_on(code, gpu.capability, facts.packages.torch_cuda)]
    unserved = [gpu for gpu in unserved if gpu not in _gpus_with_ops(facts)]
    if not code or not unserved:
        return None
    wanted = sorted({f"{gpu.capability[0]}.{gpu.capability[1]}" for gpu in shown})
    names = ", ".join(sorted({f"{gpu.name} ({gpu.capability[0]}.{gpu.capability[1]})" for gpu in unserved}))
    return Evidence(
        title=f"detectron2's compiled operators have no code for {names}",
        lines=(f"code for {' '.join(code)} in detectron2's _C",),
        fix=f"`export FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST='{';'.join(wanted)}'`, then {REBUILD}; {ROTATED_ONLY}",
    )


def _gpus_with_ops(facts: DeviceFacts) -> list[DriverGpu]:
    """The GPUs on which the operators passed."""
    passed = {gpu.uuid for gpu in merge_gpus(facts) if gpu.smoke and "operators" in gpu.smoke.passed}
    return [gpu for gpu in (facts.driver.gpus if facts.driver else ()) if gpu.uuid in passed]


NO_CODE = Cause(
    code="detectron2.ops_arch",
    severity=Severity.warning,
    title="detectron2's compiled operators have no code for the GPU",
    meaning=f"They were compiled for other compute capabilities. {ONLY_ROTATED}",
    fix=f"`export FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=...` with your GPUs' (such as `8.6;9.0+PTX`), then {REBUILD}; "
    f"{ROTATED_ONLY}",
    symptoms=(BAD_FUNCTION, "cudaErrorInvalidDeviceFunction", "Error 98:", NO_IMAGE),
    find=find_no_code,
    hides=("detectron2.ops_fail",),
)


def find_failing(facts: DeviceFacts) -> Evidence | None:
    failed = [test for test in (facts.torch.smoke_tests if facts.torch else ()) if only_ops_failed(test)]
    if not failed:
        return None
    return Evidence(
        lines=tuple(f"{test.uuid}: {test.error.partition(chr(10))[0] or how_it_ended(test.end)}" for test in failed),
    )


FAILING = Cause(
    code="detectron2.ops_fail",
    severity=Severity.warning,
    title="detectron2's compiled operators fail on the GPU",
    meaning=f"They load, but fail or give other results than on the CPU. {ONLY_ROTATED}",
    fix=f"build them again with this CUDA and torch: {REBUILD}; {ROTATED_ONLY}",
    symptoms=(BAD_FUNCTION, "cudaErrorInvalidDeviceFunction", "Error 98:"),
    find=find_failing,
)

CAUSES = (
    MISSING,
    BROKEN,
    SHADOWED,
    NO_OPS,
    OTHER_PYTHON,
    OLD_CXX,
    OTHER_CUDA,
    OTHER_TORCH,
    BROKEN_OPS,
    CPU_ONLY,
    NO_CODE,
    FAILING,
)
