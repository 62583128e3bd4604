import pytest

pytest.register_assert_rewrite("tests.assertions", "tests.sampling_checks")
