"""Whether anybody has chosen a model: detectron2's defaults describe one that nobody would."""

from __future__ import annotations

from launcher.config.request import RunRequest

_DEFAULT_MODEL = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.PROPOSAL_GENERATOR.NAME": "RPN",
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.WEIGHTS": "",
}
"""detectron2's: a Faster R-CNN R50-C4, from random weights."""


def is_model_chosen(request: RunRequest) -> bool:
    """Whether a zoo file, weights, code of the user's own or a key that makes another model was named."""
    if request.own_code.trainer or any(text.lstrip("+").startswith("model=") for text in request.typed.overrides):
        return True
    return any(request.keys.get(name, value) != value for name, value in _DEFAULT_MODEL.items())
