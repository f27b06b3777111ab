"""CUDA's numbers, and the codes that people look up."""

from __future__ import annotations

import pytest

from launcher.device.causes.catalogue import BY_CODE
from launcher.device.cuda_codes import CUDA_ERRORS, CudaError, code_of


@pytest.mark.parametrize("error", CUDA_ERRORS, ids=lambda error: str(error.number))
def test_every_error_has_a_cause_to_explain(error: CudaError):
    assert code_of(error.number) == error.code
    assert error.code in BY_CODE


@pytest.mark.parametrize("number", [None, 1, 12345])
def test_an_error_that_nobody_knows_has_the_general_code(number: int | None):
    assert code_of(number) == "run.cuda_error"
    assert code_of(number) in BY_CODE
