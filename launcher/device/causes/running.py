"""Every cause that the launcher knows by a code: its signs, what it means, what to do. Data only.

Codes that begin with `run.` show only while something runs; all others are found by the rules before it starts.
A symptom is a piece of the text that people see, as it is printed; `…` in it stands for anything, and `Error 214:` for
every way in which that number is told.
`docs/causes.md` is made from this table by scripts/docs/causes.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    code: str
    title: str
    symptoms: tuple[str, ...]
    """Texts of errors and warnings that it shows itself by; none where it shows itself otherwise."""
    meaning: str
    todo: str


GROUPS = {
    "gpu": "GPUs",
    "arch": "GPU architectures",
    "driver": "The NVIDIA driver",
    "nvml": "NVML",
    "container": "Containers",
    "scheduler": "Schedulers",
    "visible": "CUDA_VISIBLE_DEVICES",
    "torch": "torch",
    "torchvision": "torchvision",
    "detectron2": "detectron2",
    "libraries": "Other libraries",
    "mps": "Macs",
    "nccl": "Several GPUs",
    "shm": "Shared memory",
    "memory": "Memory",
    "disk": "Disk",
    "limits": "Limits of a process",
    "unexplained": "Everything else",
    "run": "Only while training",
}

NO_DRIVER = "Found no NVIDIA driver on your system"
NO_GPUS = "No CUDA GPUs are available"
UNKNOWN_ERROR = "CUDA unknown error - this may be due to an incorrectly set up environment"
NO_IMAGE = "no kernel image is available for execution on the device"
BAD_FUNCTION = "invalid device function"
DEFORM = "Cannot import 'detectron2._C', therefore 'DeformConv' is not available"

ENTRIES = (
    # GPUs
    Entry(
        code="gpu.none",
        title="no NVIDIA GPU in this machine",
        symptoms=(NO_DRIVER, NO_GPUS, "no CUDA-capable device is detected", "Error 100:"),
        meaning="Nothing on the PCI bus, under /dev or in the kernel speaks of an NVIDIA GPU. torch then answers "
        "False to is_available() without a warning.",
        todo="Use a machine with an NVIDIA GPU, or stay on the CPU (device=cpu). In a virtual machine the GPU has "
        "to be passed through to it.",
    ),
    Entry(
        code="gpu.amd",
        title="only AMD's GPUs",
        symptoms=("No HIP GPUs are available", NO_DRIVER),
        meaning="There is an AMD GPU and none of NVIDIA's. The launcher does not use ROCm builds of torch yet.",
        todo="Use a machine with an NVIDIA GPU, or the CPU (device=cpu).",
    ),
    Entry(
        code="gpu.given_to_vm",
        title="the GPU is reserved for virtual machines",
        symptoms=(NO_DRIVER,),
        meaning="The kernel has bound the GPU to vfio-pci, so that a virtual machine can have it; the host cannot.",
        todo="Train in the virtual machine that has it, or bind it to the nvidia driver again.",
    ),
    Entry(
        code="gpu.busy",
        title="another process has the GPU for itself",
        symptoms=("CUDA-capable device(s) is/are busy or unavailable", "cudaErrorDevicesUnavailable", "Error 46:"),
        meaning="The GPU is in exclusive mode and somebody computes on it, or in prohibited mode. is_available() is "
        "True all the same; the first tensor fails.",
        todo="Wait, choose another GPU with device.ids, or allow sharing: `sudo nvidia-smi -i <index> -c 0`.",
    ),
    Entry(
        code="gpu.out_of_memory",
        title="the GPU's memory is taken by others before the start",
        symptoms=(
            "CUDA error: out of memory",
            "cudaErrorMemoryAllocation",
            "Error 2: out of memory",
            "CUDA error 2",
            "less than device.min_free_gib",
            "more in use than device.max_used",
            "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        meaning="Less is free than device.min_free_gib asks for (1 GiB unless told otherwise), or not even a context "
        "fits. cuBLAS and cuDNN then often say that they are not initialised.",
        todo="`launcher doctor` names the processes: end your own left-overs (`kill <pid>`), or choose another GPU "
        "with device.ids.",
    ),
    Entry(
        code="gpu.sick",
        title="the GPU is damaged, lost or computes wrong values",
        symptoms=(
            "uncorrectable ECC error encountered",
            "cudaErrorECCUncorrectable",
            "GPU is lost",
            "has fallen off the bus",
            "Unable to determine the device handle for GPU",
            "GPU requires reset",
            "Error 101: invalid device ordinal",
            "Error 101:",
            "Error 214:",
            "uncorrectable NVLink error",
            "Error 220:",
            "Error 226:",
            "hardware stack error",
            "Error 714:",
        ),
        meaning="The GPU reports damaged memory, has left the bus, fails simple kernels, or its results differ from "
        "the CPU's. It is excluded; the others go on.",
        todo="`sudo nvidia-smi --gpu-reset -i <index>`, or power-cycle the machine; check `dmesg | grep -i xid`, "
        "power and cooling. If it comes back, have the GPU replaced.",
    ),
    Entry(
        code="gpu.hangs",
        title="the GPU never finishes what it is given",
        symptoms=("did not finish the stage",),
        meaning="A stage of the smoke test passed its deadline: a kernel that never ends, or a GPU that is stuck.",
        todo="Reset the GPU (`sudo nvidia-smi --gpu-reset -i <index>`) or reboot; use another with device.ids "
        "meanwhile.",
    ),
    Entry(
        code="gpu.crashes",
        title="using the GPU ends the process",
        symptoms=(),
        meaning="The smoke test on this GPU died of a signal.",
        todo="Reinstall the NVIDIA driver and reboot; use another GPU with device.ids meanwhile.",
    ),
    Entry(
        code="gpu.mig",
        title="MIG mode without a slice to use",
        symptoms=(NO_GPUS,),
        meaning="The GPU is cut into slices, or could be, and this process was given none. The whole GPU cannot be "
        "used in that mode.",
        todo="`nvidia-smi -L` lists the slices: `export CUDA_VISIBLE_DEVICES=MIG-<uuid>`. One slice serves one "
        "process; training on several slices together does not work.",
    ),
    Entry(
        code="gpu.shared",
        title="somebody computes on the GPU too",
        symptoms=(),
        meaning="The GPU can be used and others use it: it may be slower, and memory may run out later.",
        todo="Choose another with device.ids if the run needs it whole.",
    ),
    Entry(
        code="gpu.vanished",
        title="fewer GPUs answer than are on the PCI bus",
        symptoms=("Unable to determine the device handle for GPU", "Xid (PCI:…): 79", "Xid 79"),
        meaning="The driver has lost a GPU since it was loaded, most often after a fault of power, heat or the slot.",
        todo="`sudo dmesg | grep -i xid` names the fault; power-cycle the machine.",
    ),
    Entry(
        code="gpu.mixed",
        title="GPUs of several models, counted in two orders",
        symptoms=(),
        meaning="CUDA puts the fastest GPU first, nvidia-smi counts along the PCI bus: `cuda:0` may not be GPU 0. "
        "The launcher hands GPUs over by UUID and is not concerned.",
        todo="Nothing here; for other programs `export CUDA_DEVICE_ORDER=PCI_BUS_ID`.",
    ),
    Entry(
        code="gpu.watchdog",
        title="a screen runs on the GPU",
        symptoms=("the launch timed out and was terminated", "cudaErrorLaunchTimeout", "Error 702:"),
        meaning="Where a GPU draws a screen, the driver ends kernels that run for seconds, so that the screen does "
        "not freeze.",
        todo="Use another GPU (device.ids), or end the graphical session.",
    ),
    Entry(
        code="gpu.throttled",
        title="the GPU runs below its speed",
        symptoms=("SW Thermal Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown"),
        meaning="It is too hot or gets too little power. Results are right, only later.",
        todo="Check cooling and power: `nvidia-smi -q -d PERFORMANCE`.",
    ),
    Entry(
        code="gpu.slow_link",
        title="the GPU is connected by few PCIe lanes",
        symptoms=(),
        meaning="A riser or a bad contact leaves a quarter of the lanes or less. Pictures reach the GPU more slowly.",
        todo="Reseat the card or use another slot.",
    ),
    Entry(
        code="arch.not_in_wheel",
        title="this torch has no code for the GPU",
        symptoms=(
            NO_IMAGE,
            "cudaErrorNoKernelImageForDevice",
            "Error 209:",
            "is not compatible with the current PyTorch installation",
            "which is of compute capability (CC)",
        ),
        meaning="torch is compiled for a list of compute capabilities; the GPU is older or newer than all of them. "
        "is_available() is True, the first kernel fails.",
        todo="Install a torch built for another CUDA: 12.6 is the last for GPUs below 7.5, the newest has the "
        "newest GPUs. Else another GPU, or device=cpu.",
    ),
    # The driver
    Entry(
        code="driver.absent",
        title="a GPU without NVIDIA's driver",
        symptoms=(NO_DRIVER,),
        meaning="The GPU is on the PCI bus, but no NVIDIA kernel module is installed and no libcuda.so.1 found.",
        todo="Install the NVIDIA driver (580 or newer for torch with CUDA 13, 525 for CUDA 12) and reboot.",
    ),
    Entry(
        code="driver.nouveau",
        title="the GPU is driven by nouveau",
        symptoms=(NO_DRIVER,),
        meaning="Linux' own driver for NVIDIA GPUs has the card; it has no CUDA.",
        todo="Install the NVIDIA driver, blacklist nouveau, reboot.",
    ),
    Entry(
        code="driver.not_loaded",
        title="the NVIDIA kernel module is not loaded",
        symptoms=(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
            "Driver Not Loaded",
            UNKNOWN_ERROR,
            NO_GPUS,
        ),
        meaning="The driver's libraries are there, its kernel module is not: often after an update of the kernel "
        "for which the module was not built, or because Secure Boot refuses it.",
        todo="`sudo modprobe nvidia`; else rebuild it (`sudo dkms autoinstall`), enrol the key for Secure Boot, "
        "reboot.",
    ),
    Entry(
        code="driver.no_library",
        title="the kernel module is loaded, libcuda.so.1 is missing",
        symptoms=(
            NO_DRIVER,
            "libcuda.so.1: cannot open shared object file",
            "libcuda.so: cannot open shared object file",
        ),
        meaning="Only half of the driver is installed, or a container was given only part of it.",
        todo="Install the driver's libraries (`libnvidia-compute`) of the module's version; in a container set "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
    ),
    Entry(
        code="driver.empty_library",
        title="an empty file stands in for libcuda.so.1",
        symptoms=("libcuda.so.1: file too short", NO_DRIVER),
        meaning="An image that was built inside a GPU container keeps empty files where the driver's libraries were "
        "mounted.",
        todo="Start the container with the NVIDIA runtime (`--gpus all`), or rebuild the image without these files.",
    ),
    Entry(
        code="driver.stub",
        title="the CUDA toolkit's stub stands in for the driver",
        symptoms=("CUDA driver is a stub library", "cudaErrorStubLibrary", "Error 34:"),
        meaning="The toolkit has a libcuda.so for linking only; LD_LIBRARY_PATH leads to it before the real one.",
        todo="Take the folder that ends in `/stubs` off LD_LIBRARY_PATH.",
    ),
    Entry(
        code="driver.compat",
        title="a forward-compatibility library on a GPU without it",
        symptoms=("forward compatibility was attempted on non supported HW", "Error 804:"),
        meaning="A newer libcuda from a `compat` folder was loaded; only data-centre GPUs can work with one.",
        todo="Take the `/compat` folder off LD_LIBRARY_PATH, or update the host's driver.",
    ),
    Entry(
        code="driver.mismatch",
        title="kernel module and libraries of different versions",
        symptoms=(
            "system has unsupported display driver / cuda driver combination",
            "RM has detected an NVML/RM version mismatch",
            "Failed to initialize NVML: Driver/library version mismatch",
            "Error 803:",
        ),
        meaning="An update replaced the driver's libraries while the old kernel module kept running.",
        todo="Reboot. Keep automatic updates off the driver to avoid the next time.",
    ),
    Entry(
        code="driver.permission",
        title="the GPU's device files may not be opened",
        symptoms=(
            "Failed to initialize NVML: Insufficient Permissions",
            "Insufficient Permissions",
            "OS call failed or operation not supported on this OS",
            "Error 304:",
        ),
        meaning="/dev/nvidia* exist, but this user or this container is refused.",
        todo="`sudo usermod -aG video,render $USER` and log in again; hand the devices to the container; udev rules.",
    ),
    Entry(
        code="driver.no_nodes",
        title="the device files under /dev are missing",
        symptoms=(NO_GPUS, UNKNOWN_ERROR, "OS call failed or operation not supported on this OS"),
        meaning="The kernel module is loaded, and nobody made its device files: usual where no screen and no "
        "persistence daemon starts at boot.",
        todo="`sudo nvidia-modprobe -c 0 -u`; enable nvidia-persistenced to have it at every boot.",
    ),
    Entry(
        code="driver.uvm",
        title="nvidia_uvm is missing or stale",
        symptoms=(UNKNOWN_ERROR, "Error 999:", "CUDA_ERROR_UNKNOWN", "OS call failed or operation not supported"),
        meaning="The part of the driver that shares memory with CUDA is not loaded, or did not survive a suspend. "
        "NVML and nvidia-smi work all the same.",
        todo="`sudo nvidia-modprobe -u -c 0`; after a suspend `sudo modprobe -r nvidia_uvm && sudo modprobe "
        "nvidia_uvm`.",
    ),
    Entry(
        code="driver.fabric",
        title="the fabric manager is not running",
        symptoms=("system not yet initialized", "cudaErrorSystemNotReady", "Error 802:"),
        meaning="Machines whose GPUs are connected by NVSwitches need a service that sets the switches up.",
        todo="`sudo systemctl enable --now nvidia-fabricmanager`, of exactly the driver's version.",
    ),
    Entry(
        code="driver.mps_daemon",
        title="NVIDIA's multi-process service does not answer",
        symptoms=(
            "MPS client failed to connect to the MPS control daemon or the MPS server",
            "MPS server is not ready",
            "MPS resources required to create the MPS client",
            "MPS device connections",
            "CUDA_ERROR_MPS_",
            "Error 805:",
            "Error 806:",
            "Error 807:",
            "Error 808:",
        ),
        meaning="CUDA programs here share GPUs through a daemon; it is not running, full, or another user's.",
        todo="Restart `nvidia-cuda-mps-control -d`, or unset CUDA_MPS_PIPE_DIRECTORY.",
    ),
    Entry(
        code="driver.not_licensed",
        title="a virtual GPU without licence",
        symptoms=(
            "DEVICE_NOT_LICENSED",
            "Error 102:",
            "operation not supported",
            "Error 801:",
            "cudaErrorNotSupported",
        ),
        meaning="A slice of a GPU that a hypervisor gives to this machine refuses CUDA without its licence.",
        todo="`nvidia-smi -q | grep -i license` shows the state; ask who runs the machine.",
    ),
    Entry(
        code="driver.confidential",
        title="the GPU waits for its confidential-computing ready state",
        symptoms=("system not yet initialized", "operation not supported"),
        meaning="In a confidential virtual machine a GPU refuses work until it has been attested and declared ready.",
        todo="Attest it, then `sudo nvidia-smi conf-compute -srs 1`.",
    ),
    Entry(
        code="driver.not_initialized",
        title="the driver cannot initialise in this process",
        symptoms=("CUDA driver initialization failed, you might not have a CUDA gpu", "cudaErrorInitializationError"),
        meaning="The driver answers to nobody in these surroundings: a security profile, a limit on locked memory, "
        "or a process that was forked after it had used CUDA.",
        todo="Start it as a fresh process; look at the container's seccomp profile, `ulimit -l` and devices cgroup.",
    ),
    Entry(
        code="driver.too_old",
        title="the driver is older than this torch's CUDA",
        symptoms=(
            "The NVIDIA driver on your system is too old",
            "CUDA driver version is insufficient for CUDA runtime",
        ),
        meaning="torch needs a driver of its CUDA's major version: 580 for CUDA 13, 525 for CUDA 12, 450 for CUDA 11.",
        todo="Update the driver, or install a torch built for the CUDA that `nvidia-smi` shows. GPUs below compute "
        "capability 7.5 stay with CUDA 12.6.",
    ),
    Entry(
        code="driver.ptx_too_new",
        title="the driver cannot translate this torch's code",
        symptoms=(
            "the provided PTX was compiled with an unsupported toolchain",
            "cudaErrorUnsupportedPtxVersion",
            "Error 222:",
        ),
        meaning="torch has only intermediate code for this GPU, made by a newer compiler than the driver's.",
        todo="Update the driver, or install a torch with code for the GPU itself.",
    ),
    Entry(
        code="driver.wsl",
        title="Windows' driver is not reached from WSL",
        symptoms=(NO_GPUS, "Error 2: out of memory", "WSL environment detected but no adapters were found"),
        meaning="WSL uses the driver of Windows, through /usr/lib/wsl/lib. A driver installed inside WSL, an old "
        "one in Windows or an old WSL gets in between.",
        todo="Update the driver in Windows, `wsl --update`, remove any NVIDIA driver inside WSL, keep "
        "/usr/lib/wsl/lib first on LD_LIBRARY_PATH.",
    ),
    Entry(
        code="driver.hangs",
        title="the driver does not answer",
        symptoms=("no answer after", "blocked for more than 120 seconds"),
        meaning="Whoever calls the driver waits in the kernel for ever, and not even SIGKILL ends it. A training on "
        "the CPU is shielded by empty libraries.",
        todo="Reboot, or reset the GPU; see `dmesg | grep -i -e xid -e nvrm`.",
    ),
    Entry(
        code="driver.crashes",
        title="the driver crashes whoever loads it",
        symptoms=("Segmentation fault (core dumped)",),
        meaning="A process that called cuInit or NVML died of a signal. A training on the CPU is shielded from it.",
        todo="Reinstall the driver, library and kernel module of one version, and reboot.",
    ),
    Entry(
        code="driver.slow_start",
        title="the driver takes seconds to wake up",
        symptoms=(),
        meaning="Without a persistence daemon the driver sleeps when nobody uses it and initialises each GPU anew.",
        todo="`sudo systemctl enable --now nvidia-persistenced`.",
    ),
    Entry(
        code="nvml.failed",
        title="CUDA works, NVML does not",
        symptoms=("Can't initialize NVML", "NVML Shared Library Not Found", "libnvidia-ml.so.1: cannot open"),
        meaning="GPUs can be used, but their free memory, health and processes are unknown.",
        todo="`nvidia-smi` shows the same error; in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
    ),
    # Where the process runs
    Entry(
        code="container.no_gpu",
        title="the container was started without the GPU",
        symptoms=(NO_DRIVER, "could not select device driver", "The NVIDIA Driver was not detected"),
        meaning="The host has a GPU, the container was not given it, or without the part that computes.",
        todo="`docker run --gpus all` with the NVIDIA container toolkit; `--nv` with Apptainer; a limit on "
        "`nvidia.com/gpu` in Kubernetes; NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
    ),
    Entry(
        code="container.lost_gpu",
        title="the container has lost its GPU",
        symptoms=("Failed to initialize NVML: Unknown Error", UNKNOWN_ERROR),
        meaning="`systemctl daemon-reload` on the host took away the devices that were given to running containers.",
        todo="Start the container again; with CDI devices it does not come back.",
    ),
    Entry(
        code="scheduler.none_given",
        title="the job has no GPU",
        symptoms=(NO_GPUS,),
        meaning="A scheduler started this job without a GPU, although the machine may have some.",
        todo="Ask for one when you submit, for example `sbatch --gres=gpu:1`.",
    ),
    Entry(
        code="visible.empty",
        title="CUDA_VISIBLE_DEVICES hides all GPUs",
        symptoms=(NO_GPUS,),
        meaning="Its value is empty, -1 or another word for none.",
        todo="`unset CUDA_VISIBLE_DEVICES`.",
    ),
    Entry(
        code="visible.wrong",
        title="CUDA_VISIBLE_DEVICES names what is not there",
        symptoms=(NO_GPUS, "invalid device ordinal"),
        meaning="The driver reads the list up to the first entry that it cannot use and says nothing about it; a "
        "GPU that is named twice hides all.",
        todo="`unset CUDA_VISIBLE_DEVICES` and use device.ids, or list GPUs that `nvidia-smi -L` shows.",
    ),
    Entry(
        code="visible.hidden",
        title="a GPU that this process is not shown",
        symptoms=(),
        meaning="It is in the machine, but CUDA_VISIBLE_DEVICES or the driver keeps it from this process.",
        todo="Nothing if that is meant; else `unset CUDA_VISIBLE_DEVICES`.",
    ),
    # torch
    Entry(
        code="torch.missing",
        title="torch is not installed",
        symptoms=("No module named 'torch'",),
        meaning="This Python finds no torch; perhaps another environment was meant.",
        todo="Install torch and torchvision as https://pytorch.org/get-started/locally says.",
    ),
    Entry(
        code="torch.cpu_only",
        title="torch is built without CUDA",
        symptoms=("Torch not compiled with CUDA enabled",),
        meaning="The CPU variant of torch is installed (`+cpu`, or version.cuda is None). is_available() is False "
        "without a warning.",
        todo="Install torch and torchvision for the CUDA that your driver speaks; rebuild detectron2 if it has "
        "compiled operators.",
    ),
    Entry(
        code="torch.wrong_vendor",
        title="torch for AMD's ROCm beside an NVIDIA GPU",
        symptoms=("No HIP GPUs are available",),
        meaning="A ROCm build of torch never uses an NVIDIA GPU.",
        todo="Install torch and torchvision with CUDA.",
    ),
    Entry(
        code="torch.not_for_jetson",
        title="a general torch on a Jetson",
        symptoms=(NO_IMAGE, "Torch not compiled with CUDA enabled"),
        meaning="Jetsons need a torch built for their JetPack: the general ARM builds lack their compute capability "
        "(such as 8.7) or need a newer driver, which comes only with JetPack.",
        todo="Install the torch and torchvision that NVIDIA offers for your JetPack release.",
    ),
    Entry(
        code="torch.missing_library",
        title="torch does not find a library",
        symptoms=(
            "libcudnn…cannot open shared object file",
            "libcublas…cannot open shared object file",
            "libcusparseLt…cannot open shared object file",
            "libnccl…cannot open shared object file",
            "libcupti…cannot open shared object file",
            "libtorch…cannot open shared object file",
        ),
        meaning="One of the packages that torch brings its CUDA libraries in is missing or incomplete.",
        todo="`pip install --force-reinstall torch`, with the nvidia-* packages that it asks for.",
    ),
    Entry(
        code="torch.mixed_libraries",
        title="torch gets libraries of another version",
        symptoms=(
            "undefined symbol: __nvJitLink",
            "undefined symbol: nccl",
            "undefined symbol: cublas",
            "undefined symbol: cudnn",
        ),
        meaning="LD_LIBRARY_PATH, LD_PRELOAD or a second installation puts another CUDA library before torch's own.",
        todo="`unset LD_LIBRARY_PATH LD_PRELOAD`; if it stays, reinstall torch and its nvidia-* packages.",
    ),
    Entry(
        code="torch.cxx_runtime",
        title="the C++ runtime is too old for torch",
        symptoms=("GLIBCXX_…not found (required by…torch", "CXXABI_…not found", "GLIBC_2…not found"),
        meaning="torch or torchvision were compiled for a newer libstdc++ or glibc than the system, or a folder of "
        "LD_LIBRARY_PATH, has.",
        todo="`unset LD_LIBRARY_PATH`; a newer libstdc++ (`conda install -c conda-forge libstdcxx-ng`); a newer "
        "system.",
    ),
    Entry(
        code="torch.broken",
        title="torch does not import",
        symptoms=("Failed to load PyTorch C extensions",),
        meaning="Importing torch fails, or kills the process, for a reason that has no code of its own.",
        todo="Unset LD_LIBRARY_PATH and LD_PRELOAD, then reinstall torch.",
    ),
    Entry(
        code="torch.slow",
        title="importing torch took too long",
        symptoms=("looking at torch took too long",),
        meaning="The look at torch passed its deadline, so GPUs could not be tried out.",
        todo="Try again; install on a local disk rather than a network file system.",
    ),
    Entry(
        code="torch.libraries",
        title="cuBLAS does not start on the GPU",
        symptoms=("CUBLAS_STATUS_NOT_INITIALIZED", "CUBLAS_STATUS_"),
        meaning="Most often the GPU's memory is full; else another cuBLAS was loaded than torch's own.",
        todo="Free the GPU's memory; `unset LD_LIBRARY_PATH`; reinstall torch.",
    ),
    Entry(
        code="torch.cudnn",
        title="cuDNN does not work on the GPU",
        symptoms=(
            "cuDNN version incompatibility",
            "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
            "CUDNN_STATUS_NOT_INITIALIZED",
            "Unable to find a valid cuDNN algorithm",
            "Could not load library libcudnn",
        ),
        meaning="Two versions of cuDNN are mixed: one on LD_LIBRARY_PATH, or two nvidia-cudnn packages in one "
        "folder. With little free memory cuDNN fails in the same words.",
        todo="`unset LD_LIBRARY_PATH`, keep one nvidia-cudnn package, reinstall torch.",
    ),
    Entry(
        code="torchvision.broken",
        title="torchvision is missing or does not import",
        symptoms=("No module named 'torchvision'", "Couldn't load custom C++ ops"),
        meaning="detectron2 needs torchvision's operators.",
        todo="Install torch and torchvision from the same place in one command.",
    ),
    Entry(
        code="torchvision.other_torch",
        title="torchvision was built for another torch",
        symptoms=(
            "operator torchvision::nms does not exist",
            "Detected that PyTorch and torchvision were compiled with different CUDA",
            "torchvision/_C…undefined symbol",
        ),
        meaning="torch and torchvision come in pairs of versions, and for the same CUDA.",
        todo="Install both from the same place in one command.",
    ),
    Entry(
        code="torchvision.cpu_only",
        title="torchvision without CUDA beside torch with it",
        symptoms=("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend",),
        meaning="Detection needs torchvision's nms on the GPU, and this build has it for the CPU only.",
        todo="Install both from the same place in one command.",
    ),
    Entry(
        code="torchvision.nms_fails",
        title="torchvision's nms fails on the GPU",
        symptoms=("torchvision's nms keeps",),
        meaning="torch computes on this GPU, torchvision's operator does not: it has no code for it, or is broken.",
        todo="Install both from the same place in one command.",
    ),
    # detectron2
    Entry(
        code="detectron2.missing",
        title="detectron2 is not installed",
        symptoms=("No module named 'detectron2'",),
        meaning="This Python finds no package of that name.",
        todo="`make install`, which needs no compiler; see scripts/detectron2/README.md.",
    ),
    Entry(
        code="detectron2.broken",
        title="detectron2 does not import",
        symptoms=("No module named 'fvcore'", "No module named 'iopath'", "No module named 'pkg_resources'"),
        meaning="Something that detectron2 needs is missing, or its files are damaged.",
        todo="Install what the error names, or detectron2 again (`make install`).",
    ),
    Entry(
        code="detectron2.shadowed",
        title="a folder of sources hides the installed detectron2",
        symptoms=("cannot import name '_C' from 'detectron2'", DEFORM),
        meaning="Started in a folder with detectron2's sources, Python imports these, which hold no compiled "
        "operators.",
        todo="Start from another folder, or take the sources off PYTHONPATH.",
    ),
    Entry(
        code="detectron2.no_ops",
        title="detectron2 has no compiled operators",
        symptoms=(
            "cannot import name '_C' from 'detectron2'",
            "is not available. detectron2 is not compiled successfully, please build following the instructions",
            DEFORM,
            "'_OpNamespace' 'detectron2' object has no attribute 'nms_rotated'",
            "'_OpNamespace' 'detectron2' object has no attribute",
        ),
        meaning="Only rotated boxes need them. COCO evaluation is slower without; for deformable convolutions the "
        "launcher takes torchvision's operator.",
        todo="Nothing, unless a model has rotated boxes: build detectron2 from source with the torch that it will run "
        "with.",
    ),
    Entry(
        code="detectron2.ops_other_python",
        title="detectron2's operators are for another Python",
        symptoms=("cannot import name '_C' from 'detectron2'",),
        meaning="The compiled file carries another Python's version in its name, so that this one does not see it.",
        todo="Build detectron2 again with this Python.",
    ),
    Entry(
        code="detectron2.ops_other_torch",
        title="detectron2's operators are for another torch",
        symptoms=("detectron2/_C…undefined symbol", "undefined symbol: _ZN3c10", "undefined symbol: _ZN2at"),
        meaning="torch was replaced after detectron2 had been built; its C++ interface differs between versions.",
        todo="`rm -rf build detectron2/*.so; pip install --no-build-isolation .` in detectron2's sources.",
    ),
    Entry(
        code="detectron2.ops_other_cuda",
        title="detectron2's operators are for another CUDA",
        symptoms=("libcudart.so…cannot open shared object file", "Detectron2 CUDA Compiler…differs"),
        meaning="They were built with a toolkit of another major version than torch's CUDA.",
        todo="Build detectron2 again with the toolkit that fits torch.version.cuda.",
    ),
    Entry(
        code="detectron2.ops_cxx_runtime",
        title="the C++ runtime is too old for detectron2's operators",
        symptoms=("GLIBCXX_…not found (required by…detectron2/_C", "GLIBCXX_…not found", "CXXABI_…not found"),
        meaning="They were built by a newer compiler than this system's libstdc++ knows.",
        todo="Build them on this system, or install a newer libstdc++.",
    ),
    Entry(
        code="detectron2.ops_broken",
        title="detectron2's operators do not load",
        symptoms=("dynamic module does not define module export function",),
        meaning="The compiled file is there and cannot be imported, or kills the process.",
        todo="Build detectron2 again with this Python, compiler and torch.",
    ),
    Entry(
        code="detectron2.ops_cpu_only",
        title="detectron2's operators were built without CUDA",
        symptoms=("Detectron2 is not compiled with GPU support", "Not compiled with GPU support"),
        meaning="detectron2's build adds CUDA only where it sees a GPU, or is told to. On a GPU only rotated boxes "
        "need them; for deformable convolutions the launcher takes torchvision's operator.",
        todo="Nothing, unless a model has rotated boxes: `export FORCE_CUDA=1` and build again, with nvcc on the PATH.",
    ),
    Entry(
        code="detectron2.ops_arch",
        title="detectron2's operators have no code for the GPU",
        symptoms=(BAD_FUNCTION, "cudaErrorInvalidDeviceFunction", "Error 98:", NO_IMAGE),
        meaning="They were compiled for other compute capabilities. On a GPU only rotated boxes need them; for "
        "deformable convolutions the launcher takes torchvision's operator.",
        todo="Build again with TORCH_CUDA_ARCH_LIST set to your GPUs', for example `8.6;9.0+PTX`.",
    ),
    Entry(
        code="detectron2.ops_fail",
        title="detectron2's operators fail on the GPU",
        symptoms=(BAD_FUNCTION, "cudaErrorInvalidDeviceFunction", "Error 98:"),
        meaning="They load, but fail or give other results than on the CPU. On a GPU only rotated boxes need them; "
        "for deformable convolutions the launcher takes torchvision's operator.",
        todo="Build detectron2 again with this CUDA and torch.",
    ),
    # Around it
    Entry(
        code="libraries.mixed",
        title="CUDA libraries beside torch's own",
        symptoms=(),
        meaning="A folder of LD_LIBRARY_PATH holds libraries that torch brings along. torch's wheels do not mind; "
        "conda and source builds may.",
        todo="Nothing while all works; else `unset LD_LIBRARY_PATH`.",
    ),
    Entry(
        code="mps.unsupported",
        title="a Mac: detectron2 does not support MPS",
        symptoms=("with arguments from the 'MPS' backend", "is not currently implemented for the MPS device"),
        meaning="detectron2's models use operations that torch does not have on Apple's GPUs.",
        todo="device=cpu. With PYTORCH_ENABLE_MPS_FALLBACK=1 some models run, at your own risk.",
    ),
    Entry(
        code="nccl.failed",
        title="the GPUs cannot talk to each other",
        symptoms=(
            "NCCL error",
            "unhandled cuda error",
            "unhandled system error",
            "ncclUnhandledCudaError",
            "ncclSystemError",
        ),
        meaning="NCCL, which adds up gradients between GPUs, fails: no direct copies, too little shared or locked "
        "memory, or the wrong network.",
        todo="`export NCCL_DEBUG=INFO` tells why; NCCL_P2P_DISABLE=1, a larger /dev/shm, `ulimit -l unlimited`, "
        "NCCL_SOCKET_IFNAME. device.count=1 works meanwhile.",
    ),
    Entry(
        code="nccl.hangs",
        title="the GPUs wait for each other for ever",
        symptoms=("Watchdog caught collective operation timeout", "ran for…milliseconds before timing out"),
        meaning="NCCL waits for data that never arrives, often because IOMMU or PCIe ACS break direct copies. In a "
        "training also because one process stopped.",
        todo="NCCL_P2P_DISABLE=1; switch ACS off in the BIOS; look for an earlier error of another process.",
    ),
    Entry(
        code="shm.small",
        title="/dev/shm is too small for the data loader",
        symptoms=(
            "is killed by signal: Bus error",
            "DataLoader's workers are out of shared memory",
            "dataloader's workers are out of shared memory",
            "unable to write to file </torch_",
            "unable to write to file </torch_…No space left on device",
            "Unexpected bus error encountered in worker",
            "insufficient shared memory (shm)",
            "SIGBUS",
            "unable to allocate shared memory",
        ),
        meaning="Workers hand their pictures over through /dev/shm, of which docker gives 64 MiB.",
        todo="`--shm-size=8g` or `--ipc=host` for the container, or DATALOADER.NUM_WORKERS=0.",
    ),
    Entry(
        code="memory.small",
        title="little memory is available",
        symptoms=(
            "Cannot allocate memory",
            "DefaultCPUAllocator: can't allocate memory",
            "not enough memory: you tried",
        ),
        meaning="Less is free than a training needs for its start, or the control group of the job or container "
        "allows no more.",
        todo="Ask for more memory, end other programs, or set DATALOADER.NUM_WORKERS=0.",
    ),
    Entry(
        code="disk.full",
        title="the disk for the runs is nearly full",
        symptoms=("No space left on device", "Disk quota exceeded", "The disk of the run folder is full"),
        meaning="Checkpoints of a detectron2 model with its optimizer take some hundred MiB each.",
        todo="Make room, or choose another place with run.root=DIR.",
    ),
    Entry(
        code="limits.open_files",
        title="few open files are allowed",
        symptoms=(
            "Too many open files",
            "unable to open shared memory object </torch_…Too many open files",
            "received 0 items of ancdata",
        ),
        meaning="Every tensor that a worker hands over keeps a file open until it is used.",
        todo="`ulimit -n 4096` before the start, `--ulimit nofile=4096` for the container.",
    ),
    Entry(
        code="limits.locked_memory",
        title="little memory may be locked",
        symptoms=("ibv_reg_mr…Cannot allocate memory", "RLIMIT_MEMLOCK"),
        meaning="InfiniBand's buffers must stay in memory; without that NCCL fails with an unhandled system error.",
        todo="`ulimit -l unlimited` before the start, `--ulimit memlock=-1` for the container.",
    ),
    Entry(
        code="unexplained",
        title="no known cause fits",
        symptoms=(),
        meaning="GPUs are there and cannot be used, and no rule knows why. The raw answers are the evidence.",
        todo="Report `launcher doctor --json`; `nvidia-smi` and `dmesg | grep -i nvrm` may say more.",
    ),
    # Only while something runs
    Entry(
        code="run.out_of_memory",
        title="the GPU's memory does not suffice for this training",
        symptoms=(
            "CUDA out of memory. Tried to allocate",
            "torch.OutOfMemoryError",
            "torch.cuda.OutOfMemoryError",
            "The GPU ran out of memory",
            "CUDA error 2",
        ),
        meaning="Model, pictures and gradients together are larger than the free memory.",
        todo="A smaller SOLVER.IMS_PER_BATCH or INPUT.MIN_SIZE_TRAIN, SOLVER.AMP.ENABLED=true, or a GPU with more "
        "memory; see in `launcher doctor` whether others use it.",
    ),
    Entry(
        code="run.assert",
        title="a kernel stopped on an impossible index",
        symptoms=(
            "device-side assert triggered",
            "cudaErrorAssert",
            "Assertion `t >= 0 && t < n_classes` failed",
            "A GPU found an index out of range",
            "Error 710:",
        ),
        meaning="Most often a class number is as large as MODEL.ROI_HEADS.NUM_CLASSES or larger. Every later call "
        "in that process fails too.",
        todo="Compare the classes of the data set with NUM_CLASSES (the check of the data does); on the CPU "
        "(device=cpu) the error names the line.",
    ),
    Entry(
        code="run.illegal_access",
        title="a kernel touched memory that is not its own",
        symptoms=(
            "an illegal memory access was encountered",
            "cudaErrorIllegalAddress",
            "Error 700:",
            "misaligned address",
            "Error 716:",
            "operation not supported on global/shared address space",
            "Error 717:",
            "invalid program counter",
            "Error 718:",
        ),
        meaning="An error of an operator, or a GPU that goes bad. The process cannot use CUDA any more; the place "
        "that the traceback shows may be a later one.",
        todo="`CUDA_LAUNCH_BLOCKING=1 launcher train ...` shows the place; `launcher doctor` tries the GPU.",
    ),
    Entry(
        code="run.launch_failure",
        title="a kernel failed",
        symptoms=(
            "unspecified launch failure",
            "cudaErrorLaunchFailure",
            "Error 719:",
            "an illegal instruction was encountered",
            "Error 715:",
            "too many resources requested for launch",
            "Error 701:",
        ),
        meaning="An error of an operator or of the hardware; the process cannot use CUDA any more.",
        todo="Run the same command again, which continues; if it comes back on one GPU only, that one is sick.",
    ),
    Entry(
        code="run.cuda_error",
        title="CUDA failed with an error that has no code of its own",
        symptoms=("CUDA error: unknown error", "cudaErrorUnknown"),
        meaning="torch reported an error of CUDA, cuDNN, cuBLAS or NCCL that the launcher knows no closer cause of. "
        "`unknown error` (999) in a running training is often a GPU that was lost, or a machine that was suspended.",
        todo="`launcher doctor` tries driver and GPUs; `CUDA_LAUNCH_BLOCKING=1 launcher train ...` shows the place; "
        "`sudo dmesg | grep -i -e xid -e nvrm` shows what the driver logged.",
    ),
    Entry(
        code="run.invalid_ordinal",
        title="more GPUs were asked for than are visible",
        symptoms=(
            "invalid device ordinal",
            "GPU device may be out of range, do you have enough GPUs",
            "launch.py…AssertionError",
        ),
        meaning="A process was told to use a GPU that it is not shown.",
        todo="A smaller device.count; `launcher doctor` lists what is usable.",
    ),
    Entry(
        code="run.fork_after_cuda",
        title="a process was forked after it had used CUDA",
        symptoms=("Cannot re-initialize CUDA in forked subprocess",),
        meaning="CUDA does not survive a fork. In your own code even torch.cuda.is_available() before the fork is "
        "enough.",
        todo="Touch CUDA only in the processes that train, or start them with `spawn`. The launcher never touches "
        "it itself.",
    ),
    Entry(
        code="run.visible_changed",
        title="CUDA_VISIBLE_DEVICES was changed too late",
        symptoms=("changing env variable CUDA_VISIBLE_DEVICES after program start",),
        meaning="Once CUDA was used, a change counts for half of torch only.",
        todo="Set it before the program starts; better use device.ids.",
    ),
    Entry(
        code="run.nvml_assert",
        title="an out-of-memory error hidden behind an old NVML",
        symptoms=(
            "nvmlDeviceGetNvLinkRemoteDeviceType_ INTERNAL ASSERT FAILED",
            "driver_api.cpp…INTERNAL ASSERT FAILED",
        ),
        meaning="torch wanted to explain that memory ran out and asked NVML for what this driver does not have.",
        todo="Treat it as out of memory; a newer driver gives the real message.",
    ),
    Entry(
        code="run.cuda_checkpoint",
        title="a checkpoint with GPU tensors on a machine without",
        symptoms=("Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False",),
        meaning="The file was saved with tensors on a GPU and is loaded as it is.",
        todo="In your own code torch.load(..., map_location='cpu'); the launcher does so.",
    ),
    Entry(
        code="run.amp_on_cpu",
        title="mixed precision on the CPU",
        symptoms=("[AMPTrainer] CUDA is required for AMP training",),
        meaning="detectron2's mixed precision needs CUDA.",
        todo="SOLVER.AMP.ENABLED=false; the launcher switches it off on the CPU and says so.",
    ),
    Entry(
        code="run.sync_bn",
        title="a synchronised norm on the CPU",
        symptoms=("SyncBatchNorm expected input tensor to be on GPU",),
        meaning="torch's SyncBatchNorm refuses tensors on the CPU as soon as there is a process group.",
        todo="Train with the launcher, which takes BN for one process on the CPU and detectron2's naiveSyncBN for "
        "several, and says so; in your own code NORM=BN or naiveSyncBN.",
    ),
    Entry(
        code="run.deform_on_cpu",
        title="deformable convolutions on the CPU",
        symptoms=("Deformable Conv is not supported on CPUs",),
        meaning="detectron2's operator has no backward pass on the CPU.",
        todo="Train with the launcher, which takes torchvision's operator there; in your own code a model without "
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE, or a GPU.",
    ),
    Entry(
        code="run.nccl_on_cpu",
        title="NCCL without GPUs",
        symptoms=("ProcessGroupNCCL is only supported with GPUs, no GPUs found",),
        meaning="Several processes on the CPU must talk through gloo.",
        todo="With the launcher device=cpu device.count=N, which chooses it; in your own code backend='gloo'.",
    ),
    Entry(
        code="run.loader_killed",
        title="a data loader worker was killed",
        symptoms=(
            "DataLoader worker (pid…is killed by signal: Killed",
            "DataLoader worker (pid…exited unexpectedly",
            "a data loader process was killed",
            "a data loader process ended",
        ),
        meaning="Most often the kernel's out-of-memory killer: every worker holds the data set's list and its "
        "pictures.",
        todo="A smaller DATALOADER.NUM_WORKERS, or more memory for the job or container.",
    ),
    Entry(
        code="run.killed",
        title="the training was killed",
        symptoms=(
            "oom-kill",
            "Out of memory: Killed process",
            "oom_kill event",
            "exitcode: -9",
            "SIGKILL",
            "was killed (SIGKILL)",
            "The machine ran out of memory",
            "Killed",
        ),
        meaning="Nobody but the kernel or a scheduler sends SIGKILL: as a rule memory ran out, or a limit was reached.",
        todo="`dmesg | grep -i oom`; more memory, fewer workers. The same command continues the run.",
    ),
    Entry(
        code="run.crash",
        title="the training crashed",
        symptoms=("died of SIG", "SIGSEGV", "SIGABRT", "Segmentation fault", "Fatal Python error", "exitcode: -11"),
        meaning="Compiled code ended the process: an operator, a library, the driver, or bad memory. The launcher "
        "tries again; a run on the CPU that crashes in its first pass has met the driver, which is then masked.",
        todo="`stacks.txt` in the attempt's folder shows where every thread stood. `launcher doctor` tries driver, "
        "libraries and GPUs; extensions of your own must be built for this torch.",
    ),
    Entry(
        code="run.hang",
        title="the training showed no progress",
        symptoms=("no progress any more in",),
        meaning="For `run.hang_minutes` there was no iteration, no evaluated batch and no other step, so the launcher "
        "ended it: processes that wait for each other, a file system that does not answer, a GPU or driver that is "
        "stuck, or a step that takes longer than that.",
        todo="`stacks.txt` in the attempt's folder shows where every thread stood; `launcher doctor` tries the GPUs. "
        "A larger run.hang_minutes if it was only slow.",
    ),
    Entry(
        code="run.opencv_library",
        title="a library of the system is missing that OpenCV needs",
        symptoms=(
            "libGL.so.1: cannot open shared object file",
            "libgthread-2.0.so.0: cannot open shared object file",
            "libglib-2.0.so.0: cannot open shared object file",
            "libSM.so.6: cannot open shared object file",
            "libXext.so.6: cannot open shared object file",
        ),
        meaning="detectron2 uses OpenCV, whose usual package opens windows and needs libraries of a desktop, which "
        "containers lack. It has nothing to do with the GPU.",
        todo="`pip uninstall opencv-python; pip install opencv-python-headless`, or on Debian and Ubuntu "
        "`apt-get install libgl1 libglib2.0-0 libsm6 libxext6`.",
    ),
    Entry(
        code="run.diverged",
        title="the loss became infinite or no number",
        symptoms=(
            "Loss became infinite or NaN at iteration",
            "FloatingPointError: Loss became",
            "Predicted boxes or scores contain Inf/NaN",
            "Training has diverged",
        ),
        meaning="The learning rate is too high for the batch, boxes are degenerate, or mixed precision overflowed. "
        "Trying again gives the same.",
        todo="A lower SOLVER.BASE_LR (it scales with the batch), SOLVER.CLIP_GRADIENTS.ENABLED=true, a longer warm-up.",
    ),
)

BY_CODE = {entry.code: entry for entry in ENTRIES}


def group_of(code: str) -> str:
    return code.partition(".")[0]
