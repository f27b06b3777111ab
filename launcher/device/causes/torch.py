"""What keeps torch, torchvision and detectron2 from working, as pure rules: one function per cause.

Why an import failed is in the text of its error; the linker's and the C++ runtime's texts are the same everywhere.
"""

from __future__ import annotations

import re

from launcher.device.arches import cuda_version, runs_on
from launcher.device.causes.evidence import Seen, gpu_in_machine, how_it_ended, only_ops_failed
from launcher.device.facts import DeviceFacts

INSTALL_TORCH = "install torch and torchvision as https://pytorch.org/get-started/locally says"
BOTH_AT_ONCE = f"{INSTALL_TORCH}: both from the same place in one command"
REBUILD_OPS = "`rm -rf build detectron2/*.so; pip install --no-build-isolation .` in detectron2's sources"
WITHOUT_OPS = "without them only rotated boxes do not work, and COCO evaluation is slower"
ROTATED_ONLY = "only rotated boxes need them on a GPU"
JETPACK_TORCH = "install the torch and torchvision that NVIDIA offers for this JetPack release"

LIBRARY_NOT_FOUND = re.compile(r"lib[\w.+-]+\.so[\w.]*: cannot open shared object file")
CUDART_NOT_FOUND = re.compile(r"libcudart\.so[\w.]*: cannot open")
UNDEFINED_SYMBOL = re.compile(r"undefined symbol|symbol not found", re.IGNORECASE)
CXX_RUNTIME = re.compile(r"version [`'\"]?(GLIBCXX|CXXABI|GLIBC)_[\w.]+[`'\"]? not found")
OTHER_TORCH = re.compile(r"operator torchvision::nms does not exist|different CUDA (major )?versions|undefined symbol")


# torch


def torch_missing(facts: DeviceFacts) -> Seen | None:
    if facts.packages.torch:
        return None
    return Seen(cause="torch is not installed", evidence=(f"Python {facts.platform.python}",), fix=INSTALL_TORCH)


def torch_cxx_runtime(facts: DeviceFacts) -> Seen | None:
    errors = (facts.torch.import_error, facts.torch.torchvision_error) if facts.torch else ()
    found = [error for error in errors if CXX_RUNTIME.search(error)]
    if not found:
        return None
    return Seen(
        cause="the C++ runtime of this system is older than torch or torchvision needs",
        evidence=tuple(found),
        fix="a newer libstdc++ (`conda install -c conda-forge libstdcxx-ng`, or a newer system); "
        "`unset LD_LIBRARY_PATH` if it names an older one",
    )


def torch_missing_library(facts: DeviceFacts) -> Seen | None:
    error = facts.torch.import_error if facts.torch else ""
    if not LIBRARY_NOT_FOUND.search(error):
        return None
    return Seen(
        cause="torch does not find a library that it needs",
        evidence=(error, *facts.system.cuda_folders),
        fix="reinstall torch together with the nvidia-* packages it asks for (`pip install --force-reinstall torch`)",
    )


def torch_mixed_libraries(facts: DeviceFacts) -> Seen | None:
    error = facts.torch.import_error if facts.torch else ""
    if not UNDEFINED_SYMBOL.search(error):
        return None
    return Seen(
        cause="torch gets a library of another version than its own",
        evidence=(error, *facts.system.cuda_folders),
        fix="`unset LD_LIBRARY_PATH LD_PRELOAD`; if it stays, reinstall torch and its nvidia-* packages",
    )


def torch_broken(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or not (facts.torch.import_error or _died_importing(facts, "import torch")):
        return None
    return Seen(
        cause="torch does not import",
        evidence=(
            facts.torch.import_error or f"{how_it_ended(facts.torch.end)}: {facts.torch.end.stderr}",
            *facts.system.cuda_folders,
        ),
        fix="unset LD_LIBRARY_PATH and LD_PRELOAD if they name other CUDA libraries, then reinstall torch",
    )


def torch_slow(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or facts.torch.end.how != "hung":
        return None
    return Seen(
        cause=f"looking at torch took too long (in `{facts.torch.end.stage}`), so GPUs were not tried out",
        evidence=(how_it_ended(facts.torch.end),),
        fix="try again; if it stays, install on a local disk rather than a network file system",
    )


def torch_not_for_jetson(facts: DeviceFacts) -> Seen | None:
    if not facts.system.tegra or not facts.packages.torch or facts.packages.torch_hip:
        return None
    reason = _why_not_for_jetson(facts)
    if not reason:
        return None
    return Seen(
        cause="this torch is not made for this Jetson",
        evidence=(facts.system.model or "a Tegra kernel", f"torch {facts.packages.torch}: {reason}"),
        fix=f"{JETPACK_TORCH}, not the general ones for ARM",
    )


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


def torch_cpu_only(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if not packages.torch or packages.torch_cuda or packages.torch_hip or facts.platform.system == "darwin":
        return None
    return Seen(
        cause="this torch is built without CUDA",
        evidence=(f"torch {packages.torch}: version.cuda is None",),
        fix=f"{INSTALL_TORCH}, with CUDA {_cuda_to_install(facts)}; rebuild detectron2 after it if it has compiled ops",
    )


def torch_wrong_vendor(facts: DeviceFacts) -> Seen | None:
    if not facts.packages.torch_hip or not gpu_in_machine(facts):
        return None
    return Seen(
        cause="this torch is built for AMD's ROCm, but the GPU is NVIDIA's",
        evidence=(f"torch {facts.packages.torch}: version.hip is {facts.packages.torch_hip}",),
        fix=f"{INSTALL_TORCH}, with CUDA",
    )


def _cuda_to_install(facts: DeviceFacts) -> str:
    speaks = facts.driver.cuda_version if facts.driver else 0
    return f"{speaks // 1000}.x, which your driver speaks" if speaks else "of a version that your driver speaks"


# torchvision


def torchvision_other_torch(facts: DeviceFacts) -> Seen | None:
    error = facts.torch.torchvision_error if facts.torch else ""
    if not OTHER_TORCH.search(error):
        return None
    return Seen(
        cause="this torchvision was built for another torch",
        evidence=(f"torch {facts.packages.torch}, torchvision {facts.packages.torchvision}", error),
        fix=BOTH_AT_ONCE,
    )


def torchvision_broken(facts: DeviceFacts) -> Seen | None:
    error = facts.torch.torchvision_error if facts.torch else ""
    if not facts.packages.torchvision:
        error = "torchvision is not installed"
    died = facts.torch is not None and _died_importing(facts, "import torchvision")
    if not (error or died) or not facts.packages.torch:
        return None
    return Seen(
        cause="torchvision is not installed or does not import",
        evidence=(error or how_it_ended(facts.torch.end) if facts.torch else error,),
        fix=BOTH_AT_ONCE,
    )


def torchvision_cpu_only(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    tried = facts.torch.nms_on_cuda if facts.torch else None
    # Some versions say it in their name, so that it is known before torch is imported.
    if not packages.torch_cuda or tried or not (tried is False or packages.torchvision.endswith("+cpu")):
        return None
    return Seen(
        cause="this torchvision is built without CUDA, torch with it",
        evidence=(f"torchvision {packages.torchvision}, torch {packages.torch}", "no CUDA kernel for nms"),
        fix=BOTH_AT_ONCE,
    )


# detectron2


def detectron2_missing(facts: DeviceFacts) -> Seen | None:
    if facts.packages.detectron2_folder:
        return None
    return Seen(
        cause="detectron2 is not installed",
        evidence=(f"Python {facts.platform.python} finds no package of that name",),
        fix="install it as scripts/detectron2/README.md says: `make install` needs no compiler",
    )


def detectron2_broken(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or not (facts.torch.detectron2_error or _died_importing(facts, "import detectron2")):
        return None
    return Seen(
        cause="detectron2 does not import",
        evidence=(facts.torch.detectron2_error or how_it_ended(facts.torch.end), facts.packages.detectron2_folder),
        fix="install what the error names, or reinstall detectron2 (`make install`)",
    )


def detectron2_shadowed(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if packages.detectron2_compiled or not (packages.detectron2_checkout and packages.detectron2_elsewhere):
        return None
    return Seen(
        cause="a folder of detectron2's sources hides the installed detectron2",
        evidence=(f"imported: {packages.detectron2_folder}", f"hidden: {', '.join(packages.detectron2_elsewhere)}"),
        fix="start from another folder, or take the sources off PYTHONPATH",
    )


def detectron2_ops_other_python(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if not packages.detectron2_compiled or packages.detectron2_fits:
        return None
    return _ops(facts, "were built for another Python", f"none of them is for Python {facts.platform.python}")


def detectron2_ops_cxx_runtime(facts: DeviceFacts) -> Seen | None:
    error = _ops_error(facts)
    if not CXX_RUNTIME.search(error):
        return None
    return _ops(facts, "need a newer C++ runtime than this system has", error)


def detectron2_ops_other_cuda(facts: DeviceFacts) -> Seen | None:
    error = _ops_error(facts)
    built, needs = cuda_version(facts.torch.ops_cuda if facts.torch else ""), cuda_version(facts.packages.torch_cuda)
    differ = built[0] and needs[0] and built[0] != needs[0]
    if not (CUDART_NOT_FOUND.search(error) or differ):
        return None
    evidence = error or f"built with CUDA {built[0]}.{built[1]}, torch with {needs[0]}.{needs[1]}"
    return _ops(facts, "were built with another CUDA than torch", evidence)


def detectron2_ops_other_torch(facts: DeviceFacts) -> Seen | None:
    error = _ops_error(facts)
    if not UNDEFINED_SYMBOL.search(error):
        return None
    return _ops(facts, "were built against another torch", error)


def detectron2_ops_broken(facts: DeviceFacts) -> Seen | None:
    died = facts.torch is not None and _died_importing(facts, "import detectron2._C")
    error = _ops_error(facts) or (how_it_ended(facts.torch.end) if died and facts.torch else "")
    if not facts.packages.detectron2_compiled or not error:
        return None
    return _ops(facts, "do not load", error)


def _ops_error(facts: DeviceFacts) -> str:
    """Where nothing is compiled, that `_C` does not import is no news."""
    return facts.torch.ops_error if facts.torch and facts.packages.detectron2_compiled else ""


def _ops(facts: DeviceFacts, what: str, why: str) -> Seen:
    packages = facts.packages
    return Seen(
        cause=f"detectron2's compiled operators {what}",
        evidence=(why, f"{', '.join(packages.detectron2_compiled)} in {packages.detectron2_folder}"),
        fix=f"build them again with this Python, compiler and torch: {REBUILD_OPS}; {WITHOUT_OPS}",
    )


def detectron2_ops_cpu_only(facts: DeviceFacts) -> Seen | None:
    shown = facts.driver.gpus if facts.driver else ()
    said = facts.torch.ops_cuda == "not available" if facts.torch else False
    if not shown or not (said or facts.packages.detectron2_ops_gpu_code == ()):
        return None
    return Seen(
        cause="detectron2's compiled operators were built without CUDA",
        evidence=(
            f"detectron2 {facts.packages.detectron2}: "
            + ("_C.has_cuda() is False" if said else "there is no GPU code in its _C"),
        ),
        fix=f"with nvcc: `export FORCE_CUDA=1`, then {REBUILD_OPS}; {ROTATED_ONLY}",
    )


def detectron2_ops_arch(facts: DeviceFacts) -> Seen | None:
    code = facts.packages.detectron2_ops_gpu_code
    shown = facts.driver.gpus if facts.driver else ()
    unserved = [gpu for gpu in shown if code and not runs_on(code, gpu.capability, facts.packages.torch_cuda)]
    if not code or not unserved:
        return None
    wanted = sorted({f"{gpu.capability[0]}.{gpu.capability[1]}" for gpu in shown})
    return Seen(
        cause="detectron2's compiled operators have no code for "
        + ", ".join(sorted({f"{gpu.name} ({gpu.capability[0]}.{gpu.capability[1]})" for gpu in unserved})),
        evidence=(f"code for {' '.join(code)} in detectron2's _C",),
        fix=f"`export FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST='{';'.join(wanted)}'`, then {REBUILD_OPS}; {ROTATED_ONLY}",
    )


def detectron2_ops_fail(facts: DeviceFacts) -> Seen | None:
    failed = [test for test in (facts.torch.smoke_tests if facts.torch else ()) if only_ops_failed(test)]
    if not failed:
        return None
    return Seen(
        cause="detectron2's compiled operators fail on the GPU",
        evidence=tuple(f"{test.uuid}: {test.error.partition(chr(10))[0] or how_it_ended(test.end)}" for test in failed),
        fix=f"build them again with this CUDA and torch: {REBUILD_OPS}; {ROTATED_ONLY}",
    )


def detectron2_no_ops(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if not packages.detectron2_folder or packages.detectron2_compiled:
        return None
    return Seen(
        cause="detectron2 has no compiled operators: rotated boxes do not work, COCO evaluation is slower",
        evidence=(f"detectron2 {packages.detectron2}: no _C in its folder",),
        fix="nothing, unless a model has rotated boxes: build detectron2 from source for those",
    )


def _died_importing(facts: DeviceFacts, stage: str) -> bool:
    end = facts.torch.end if facts.torch else None
    return end is not None and end.how in ("signal", "exit") and end.stage == stage
