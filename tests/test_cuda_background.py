"""Backgrounds by the kernels of the GPU: what the tests of the CPU ask, and more."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import _dispatch
from npsubpix._cpu import background as cpu
from npsubpix._cuda import _launch, _mesh, background
from tests.cuda_host.fixtures import cuda_on_host, host_device  # noqa: F401
from tests.test_background import (  # noqa: F401
    sky,
    test_amplitudes,
    test_bad_pixels_and_masks_do_not_count,
    test_constant_images,
    test_dtypes,
    test_growth_and_filter,
    test_images_without_pixels,
    test_libraries_and_layouts,
    test_nothing_to_measure_is_nan,
    test_offsets_cost_no_precision,
    test_slopes_are_followed_to_the_border,
    test_stacks,
    test_the_definition,
    test_volumes,
    test_wrong_arguments_of_local_background,
)

pytestmark = pytest.mark.usefixtures("cuda_on_host")
