"""Texts of torch that several causes are known by, and fixes that several share. Data only."""

NO_DRIVER = "Found no NVIDIA driver on your system"
NO_GPUS = "No CUDA GPUs are available"
UNKNOWN_ERROR = "CUDA unknown error - this may be due to an incorrectly set up environment"
NO_IMAGE = "no kernel image is available for execution on the device"
BAD_FUNCTION = "invalid device function"

PYTORCH_SITE = "https://pytorch.org/get-started/locally"
INSTALL_TORCH = f"install torch and torchvision as {PYTORCH_SITE} says"
BOTH_AT_ONCE = f"{INSTALL_TORCH}: both from the same place in one command"
COMPUTE_CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
