"""Start detectron2 trainings on whatever machine is at hand."""

__version__ = "0.1.0"
