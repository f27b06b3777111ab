"""No GPU for this process, before the driver has a say: no card, another's card, a job or container without one."""

from __future__ import annotations

from launcher.device.causes.cause import UNREACHABLE, WITHOUT_CUDA, Cause, Evidence
from launcher.device.causes.evidence import (
    NO_DEVICE,
    STUB,
    UNKNOWN,
    driver_answers,
    driver_is_dangerous,
    driver_shows_gpus,
    driver_works,
    gpu_in_machine,
    init_code,
    no_library,
    nvml_answers,
    nvml_lists_gpus,
    raw_codes,
)
from launcher.device.causes.texts import COMPUTE_CAPABILITIES, NO_DRIVER, NO_GPUS, UNKNOWN_ERROR
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts


def is_a_mac(facts: DeviceFacts) -> bool:
    return facts.platform.system == "darwin"


def find_mac(facts: DeviceFacts) -> Evidence | None:
    if not is_a_mac(facts):
        return None
    return Evidence(lines=(f"platform {facts.platform.system} {facts.platform.machine}",))


MPS_UNSUPPORTED = Cause(
    code="mps.unsupported",
    severity=Severity.info,
    title="this is a Mac: no CUDA, and detectron2 does not support Apple's MPS",
    meaning="detectron2's models use operations that torch does not have on Apple's GPUs.",
    fix="device=cpu here; a machine with an NVIDIA GPU for more. With PYTORCH_ENABLE_MPS_FALLBACK=1 some models run in "
    "your own code, at your own risk",
    symptoms=("with arguments from the 'MPS' backend", "is not currently implemented for the MPS device"),
    find=find_mac,
    unless=(driver_works,),
    hides=(*UNREACHABLE, *WITHOUT_CUDA),
    blocks=True,
)


def has_amd_gpu(facts: DeviceFacts) -> bool:
    return any(gpu.vendor == "amd" for gpu in facts.system.pci_gpus)


def job_without_gpu(facts: DeviceFacts) -> bool:
    """A scheduler started this job and gave it none, so what it sees is not the machine."""
    return facts.job.promised_gpus == 0


def driver_speaks_of_gpu(facts: DeviceFacts) -> bool:
    """cuInit returned an error that it has for machines with a GPU only."""
    return init_code(facts) not in (None, NO_DEVICE, STUB, UNKNOWN)


def find_no_gpu(facts: DeviceFacts) -> Evidence:
    sign = "no NVIDIA display controller on the PCI bus, no /dev/nvidia*, no kernel module"
    return Evidence(lines=(sign, *raw_codes(facts)[:2]))


NO_GPU = Cause(
    code="gpu.none",
    severity=Severity.info,
    title="no NVIDIA GPU in this machine",
    meaning="Nothing on the PCI bus, under /dev or in the kernel indicates an NVIDIA GPU. torch then answers False to "
    "is_available() without a warning.",
    fix="use a machine with an NVIDIA GPU, or stay with device=cpu; in a virtual machine the GPU has to be passed "
    "through to it",
    symptoms=(NO_DRIVER, NO_GPUS, "no CUDA-capable device is detected", "Error 100:"),
    find=find_no_gpu,
    unless=(gpu_in_machine, driver_speaks_of_gpu, driver_is_dangerous, has_amd_gpu, job_without_gpu, is_a_mac),
    hides=(*UNREACHABLE, *WITHOUT_CUDA),
    blocks=True,
)


def find_amd(facts: DeviceFacts) -> Evidence | None:
    amd = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "amd"]
    return Evidence(lines=tuple(f"PCI {gpu.address}: AMD {gpu.device}" for gpu in amd)) if amd else None


AMD_ONLY = Cause(
    code="gpu.amd",
    severity=Severity.info,
    title="no NVIDIA GPU in this machine, only AMD's",
    meaning="There is an AMD GPU and none of NVIDIA's. The launcher does not use ROCm builds of torch yet.",
    fix="a machine with an NVIDIA GPU, or device=cpu; ROCm builds of torch are not used yet",
    symptoms=("No HIP GPUs are available", NO_DRIVER),
    find=find_amd,
    unless=(gpu_in_machine, driver_is_dangerous, job_without_gpu),
    hides=(*UNREACHABLE, *WITHOUT_CUDA),
    blocks=True,
)


def find_job_without_gpu(facts: DeviceFacts) -> Evidence | None:
    if not job_without_gpu(facts):
        return None
    return Evidence(
        title=f"the {facts.job.scheduler} job {facts.job.job_id} has no GPU",
        lines=("no variable of the scheduler names a GPU",),
    )


NONE_GIVEN = Cause(
    code="scheduler.none_given",
    severity=Severity.info,
    title="this job has no GPU",
    meaning="A scheduler started this job without a GPU, although the machine may have some.",
    fix="ask for one when you submit, for example `sbatch --gres=gpu:1`",
    symptoms=(NO_GPUS,),
    find=find_job_without_gpu,
    unless=(driver_shows_gpus, driver_is_dangerous),
    hides=(*UNREACHABLE, *WITHOUT_CUDA, "torch.wrong_vendor", "torch.not_for_jetson"),
    blocks=True,
)


def find_given_to_vm(facts: DeviceFacts) -> Evidence | None:
    nvidia = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia"]
    if not nvidia or any(gpu.kernel_driver != "vfio-pci" for gpu in nvidia):
        return None
    return Evidence(lines=tuple(f"PCI {gpu.address} is bound to vfio-pci" for gpu in nvidia))


GIVEN_TO_VM = Cause(
    code="gpu.given_to_vm",
    title="the GPU is reserved for virtual machines",
    meaning="The kernel has bound the GPU to vfio-pci, so that a virtual machine can have it; the host cannot.",
    fix="train inside the virtual machine that has it, or bind it to the nvidia driver again",
    symptoms=(NO_DRIVER,),
    find=find_given_to_vm,
    unless=(driver_works, nvml_lists_gpus, driver_is_dangerous),
    hides=UNREACHABLE,
    blocks=True,
)


def find_lost_by_container(facts: DeviceFacts) -> Evidence | None:
    lost = [node.path for node in facts.driver.nodes if node.error == "EPERM"] if facts.driver else []
    if not (facts.system.container and lost):
        return None
    return Evidence(lines=(f"open() of {', '.join(lost)} gives EPERM", *raw_codes(facts)))


LOST_BY_CONTAINER = Cause(
    code="container.lost_gpu",
    title="this container has lost its access to the GPU",
    meaning="`systemctl daemon-reload` on the host took away the devices that were given to running containers.",
    fix="start the container again; if it comes back use CDI devices (`systemctl daemon-reload` revokes others)",
    symptoms=("Failed to initialize NVML: Unknown Error", UNKNOWN_ERROR),
    find=find_lost_by_container,
    unless=(driver_works, nvml_answers, driver_is_dangerous),
    hides=UNREACHABLE,
    blocks=True,
)


def find_container_without_gpu(facts: DeviceFacts) -> Evidence | None:
    if not facts.system.container or not gpu_in_machine(facts):
        return None
    capabilities = facts.environment.get("NVIDIA_DRIVER_CAPABILITIES", "")
    no_compute = bool(capabilities) and not {"all", "compute"} & set(capabilities.split(","))
    by_other_ways = facts.system.wsl or facts.system.tegra
    no_nodes = "/dev/nvidiactl" not in facts.system.device_nodes and not by_other_ways and not driver_answers(facts)
    if not (no_nodes or (no_compute and no_library(facts))):
        return None
    return Evidence(
        lines=(
            f"container: {', '.join(facts.system.container)}",
            "no /dev/nvidiactl" if no_nodes else f"NVIDIA_DRIVER_CAPABILITIES={capabilities}",
            f"NVIDIA_VISIBLE_DEVICES={facts.environment.get('NVIDIA_VISIBLE_DEVICES', '')}",
            *raw_codes(facts)[:2],
        ),
    )


CONTAINER_WITHOUT_GPU = Cause(
    code="container.no_gpu",
    title="this container was started without the GPU",
    meaning="The host has a GPU; the container was not given it, or without the libraries that compute.",
    fix="`docker run --gpus all ...` with the NVIDIA container toolkit, `--nv` with Apptainer, a limit on "
    f"`nvidia.com/gpu` in Kubernetes; {COMPUTE_CAPABILITIES}",
    symptoms=(NO_DRIVER, "could not select device driver", "The NVIDIA Driver was not detected"),
    find=find_container_without_gpu,
    unless=(driver_is_dangerous,),
    hides=UNREACHABLE,
    blocks=True,
)

CAUSES = (
    MPS_UNSUPPORTED,
    NO_GPU,
    AMD_ONLY,
    NONE_GIVEN,
    GIVEN_TO_VM,
    LOST_BY_CONTAINER,
    CONTAINER_WITHOUT_GPU,
)
