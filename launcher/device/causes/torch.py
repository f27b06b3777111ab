"""What keeps torch from importing, or from using the GPUs that are there.

Why an import failed is in the text of its error; the linker's and the C++ runtime's texts are the same everywhere.
"""

from __future__ import annotations

import re

from launcher.device.arches import cuda_version, runs_on
from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import (
    computes,
    died_importing,
    gpu_in_machine,
    how_it_ended,
    smoke_lines,
    torch_has_cuda,
)
from launcher.device.causes.texts import INSTALL_TORCH, NO_IMAGE
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView

NO_TORCHVISION = ("torchvision.*", "detectron2.broken", "detectron2.ops_*")
NO_TORCH = (*NO_TORCHVISION, "torch.*", "libraries.*")

LIBRARY_NOT_FOUND = re.compile(r"lib[\w.+-]+\.so[\w.]*: cannot open shared object file")
UNDEFINED_SYMBOL = re.compile(r"undefined symbol|symbol not found", re.IGNORECASE)
CXX_RUNTIME = re.compile(r"version [`'\"]?(GLIBCXX|CXXABI|GLIBC)_[\w.]+[`'\"]? not found")


# It does not import


def torch_imports(facts: DeviceFacts) -> bool:
    return bool(facts.torch and facts.torch.version)


def find_missing(facts: DeviceFacts) -> Evidence | None:
    return None if facts.packages.torch else Evidence(lines=(f"Python {facts.platform.python}",))


MISSING = Cause(
    code="torch.missing",
    title="torch is not installed",
    meaning="This Python finds no torch; perhaps another environment was meant.",
    fix=INSTALL_TORCH,
    symptoms=("No module named 'torch'",),
    find=find_missing,
    unless=(torch_imports,),
    hides=("torch.*", "torchvision.*"),
    blocks=True,
    fatal=True,
)


def find_old_cxx(facts: DeviceFacts) -> Evidence | None:
    errors = (facts.torch.import_error, facts.torch.torchvision_error) if facts.torch else ()
    found = tuple(error for error in errors if CXX_RUNTIME.search(error))
    return Evidence(lines=found) if found else None


OLD_CXX = Cause(
    code="torch.cxx_runtime",
    title="the C++ runtime of this system is older than torch or torchvision needs",
    meaning="torch or torchvision were compiled for a newer libstdc++ or glibc than the system, or a folder of "
    "LD_LIBRARY_PATH, has.",
    fix="a newer libstdc++ (`conda install -c conda-forge libstdcxx-ng`, or a newer system); `unset LD_LIBRARY_PATH` "
    "if it names an older one",
    symptoms=("GLIBCXX_…not found (required by…torch", "CXXABI_…not found", "GLIBC_2…not found"),
    find=find_old_cxx,
    hides=NO_TORCH,
    blocks=True,
    fatal=True,
)


def find_missing_library(facts: DeviceFacts) -> Evidence | None:
    error = _import_error(facts)
    return Evidence(lines=(error, *facts.system.cuda_folders)) if LIBRARY_NOT_FOUND.search(error) else None


MISSING_LIBRARY = Cause(
    code="torch.missing_library",
    title="torch does not find a library that it needs",
    meaning="One of the packages that torch brings its CUDA libraries in is missing or incomplete.",
    fix="reinstall torch together with the nvidia-* packages it asks for (`pip install --force-reinstall torch`)",
    symptoms=(
        "libcudnn…cannot open shared object file",
        "libcublas…cannot open shared object file",
        "libcusparseLt…cannot open shared object file",
        "libnccl…cannot open shared object file",
        "libcupti…cannot open shared object file",
        "libtorch…cannot open shared object file",
    ),
    find=find_missing_library,
    hides=NO_TORCH,
    blocks=True,
    fatal=True,
)


def find_mixed_libraries(facts: DeviceFacts) -> Evidence | None:
    error = _import_error(facts)
    return Evidence(lines=(error, *facts.system.cuda_folders)) if UNDEFINED_SYMBOL.search(error) else None


MIXED_LIBRARIES = Cause(
    code="torch.mixed_libraries",
    title="torch gets a library of another version than its own",
    meaning="LD_LIBRARY_PATH, LD_PRELOAD or a second installation puts another CUDA library before torch's own.",
    fix="`unset LD_LIBRARY_PATH LD_PRELOAD`; if it stays, reinstall torch and its nvidia-* packages",
    symptoms=(
        "undefined symbol: __nvJitLink",
        "undefined symbol: nccl",
        "undefined symbol: cublas",
        "undefined symbol: cudnn",
    ),
    find=find_mixed_libraries,
    hides=NO_TORCH,
    blocks=True,
    fatal=True,
)


def find_broken(facts: DeviceFacts) -> Evidence | None:
    if facts.torch is None or not (facts.torch.import_error or died_importing(facts, "import torch")):
        return None
    end = f"{how_it_ended(facts.torch.end)}: {facts.torch.end.stderr}"
    why = facts.torch.import_error or end
    # The dynamic loader's words where there is no room for a library in the address space.
    no_room = "failed to map segment" in why or "cannot allocate memory" in why.lower()
    fix = "raise the limit of address space (`ulimit -v unlimited`), or the job's memory" if no_room else ""
    return Evidence(lines=(why, *facts.system.cuda_folders), fix=fix)


BROKEN = Cause(
    code="torch.broken",
    title="torch does not import",
    meaning="Importing torch fails, or kills the process, for a reason that has no code of its own.",
    fix="unset LD_LIBRARY_PATH and LD_PRELOAD if they name other CUDA libraries, then reinstall torch",
    symptoms=("Failed to load PyTorch C extensions",),
    find=find_broken,
    hides=NO_TORCH,
    blocks=True,
    fatal=True,
)


def _import_error(facts: DeviceFacts) -> str:
    return facts.torch.import_error if facts.torch else ""


def find_slow(facts: DeviceFacts) -> Evidence | None:
    if facts.torch is None or facts.torch.end.how != "hung":
        return None
    return Evidence(
        title=f"importing and trying torch took too long (in `{facts.torch.end.stage}`), so GPUs were not tried",
        lines=(how_it_ended(facts.torch.end),),
    )


SLOW = Cause(
    code="torch.slow",
    severity=Severity.warning,
    title="importing and trying torch took too long, so GPUs were not tried",
    meaning="The probe of torch passed its deadline, so GPUs could not be tried.",
    fix="try again; if it stays, install on a local disk rather than a network file system",
    find=find_slow,
)


# It is built for something else


def find_without_cuda(facts: DeviceFacts) -> Evidence | None:
    packages = facts.packages
    if not packages.torch or packages.torch_cuda or packages.torch_hip or facts.platform.system == "darwin":
        return None
    speaks = facts.driver.cuda_version if facts.driver else 0
    which = f"{speaks // 1000}.x, which your driver speaks" if speaks else "of a version that your driver speaks"
    return Evidence(
        lines=(f"torch {packages.torch}: version.cuda is None",),
        fix=f"{INSTALL_TORCH}, with CUDA {which}; rebuild detectron2 after it if it has compiled operators",
    )


CPU_ONLY = Cause(
    code="torch.cpu_only",
    title="this torch is built without CUDA",
    meaning="The CPU variant of torch is installed (`+cpu`, or version.cuda is None). is_available() is False without "
    "a warning.",
    fix=f"{INSTALL_TORCH}, with the CUDA that your driver speaks; rebuild detectron2 after it if it has compiled "
    "operators",
    symptoms=("Torch not compiled with CUDA enabled",),
    find=find_without_cuda,
    unless=(torch_has_cuda,),
    blocks=True,
)


def find_wrong_vendor(facts: DeviceFacts) -> Evidence | None:
    if not facts.packages.torch_hip or not gpu_in_machine(facts):
        return None
    return Evidence(lines=(f"torch {facts.packages.torch}: version.hip is {facts.packages.torch_hip}",))


WRONG_VENDOR = Cause(
    code="torch.wrong_vendor",
    title="this torch is built for AMD's ROCm, but the GPU is NVIDIA's",
    meaning="A ROCm build of torch never uses an NVIDIA GPU.",
    fix=f"{INSTALL_TORCH}, with CUDA",
    symptoms=("No HIP GPUs are available",),
    find=find_wrong_vendor,
    blocks=True,
)


def find_not_for_jetson(facts: DeviceFacts) -> Evidence | None:
    if not facts.system.tegra or not facts.packages.torch or facts.packages.torch_hip:
        return None
    reason = _why_not_for_jetson(facts)
    if not reason:
        return None
    return Evidence(lines=(facts.system.model or "a Tegra kernel", f"torch {facts.packages.torch}: {reason}"))


def _why_not_for_jetson(facts: DeviceFacts) -> str:
    needs, _ = cuda_version(facts.packages.torch_cuda)
    speaks = facts.driver.cuda_version if facts.driver else 0
    code = facts.torch.architectures if facts.torch else ()
    if not needs:
        return "it is built without CUDA"
    if speaks and speaks // 1000 < needs:
        return f"it is built for CUDA {needs}, this JetPack speaks {speaks // 1000}.{speaks % 1000 // 10}"
    for gpu in facts.driver.gpus if facts.driver else ():
        if code and not runs_on(code, gpu.capability, facts.packages.torch_cuda):
            return f"it has no code for compute capability {gpu.capability[0]}.{gpu.capability[1]}"
    return ""


NOT_FOR_JETSON = Cause(
    code="torch.not_for_jetson",
    title="this torch is not made for this Jetson",
    meaning="Jetsons need a torch built for their JetPack: the general ARM builds lack their compute capability (such "
    "as 8.7) or need a newer driver, which comes only with JetPack.",
    fix="install the torch and torchvision that NVIDIA offers for this JetPack release, not the general ones for ARM",
    symptoms=(NO_IMAGE, "Torch not compiled with CUDA enabled"),
    find=find_not_for_jetson,
    unless=(computes,),
    hides=("torch.cpu_only", "driver.too_old", "arch.*", "unexplained"),
    blocks=True,
)


# Its libraries do not start on the GPU


def find_cudnn(facts: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or not gpu.smoke.failed or "cudnn" not in gpu.smoke.error.lower():
        return None
    packages = facts.packages.cudnn_packages
    return Evidence(
        title="computes, but cuDNN does not: it is of another version than torch's, or incomplete",
        lines=(
            *smoke_lines(gpu),
            *(f"LD_LIBRARY_PATH: {folder}" for folder in facts.system.cuda_folders),
            *((f"installed over each other: {', '.join(packages)}",) if len(packages) > 1 else ()),
        ),
    )


CUDNN = Cause(
    code="torch.cudnn",
    title="cuDNN does not work on the GPU",
    meaning="Two versions of cuDNN are mixed: one on LD_LIBRARY_PATH, or two nvidia-cudnn packages in one folder. With "
    "little free memory cuDNN fails in the same words.",
    fix="`unset LD_LIBRARY_PATH`, keep one nvidia-cudnn package, then reinstall torch",
    symptoms=(
        "cuDNN version incompatibility",
        "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        "CUDNN_STATUS_NOT_INITIALIZED",
        "CUDNN_STATUS_EXECUTION_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR",
        "CUDNN_STATUS_MAPPING_ERROR",
        "CUDNN_STATUS_ALLOC_FAILED",
        "Unable to find a valid cuDNN algorithm",
        "Could not load library libcudnn",
    ),
    find_on_gpu=find_cudnn,
)


def find_cublas(facts: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or not any(name in gpu.smoke.error for name in ("CUBLAS", "libcu")):
        return None
    listed = facts.environment.get("LD_LIBRARY_PATH", "")
    return Evidence(
        title="is there, but cuBLAS does not start on it",
        lines=(*smoke_lines(gpu), f"LD_LIBRARY_PATH={listed}"),
    )


CUBLAS = Cause(
    code="torch.libraries",
    title="cuBLAS does not start on the GPU",
    meaning="Most often the GPU's memory is full; else another cuBLAS was loaded than torch's own.",
    fix="free the GPU's memory; unset LD_LIBRARY_PATH if it names other CUDA libraries, then reinstall torch",
    symptoms=("CUBLAS_STATUS_NOT_INITIALIZED", "CUBLAS_STATUS_"),
    find_on_gpu=find_cublas,
)

CAUSES = (
    MISSING,
    OLD_CXX,
    MISSING_LIBRARY,
    MIXED_LIBRARIES,
    BROKEN,
    SLOW,
    CPU_ONLY,
    WRONG_VENDOR,
    NOT_FOR_JETSON,
    CUDNN,
    CUBLAS,
)
