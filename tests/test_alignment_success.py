"""Images of one scene are ok where they are aligned, others are not: a sample of `benchmarks.alignment_success`."""

from __future__ import annotations

from benchmarks import alignment_success as success


def test_ok_is_right_and_right_is_ok():
    """Of stars, few and many, and textures: none that is wrong is ok, and none that is right is not."""
    kinds = [kind for kind in success.KINDS if kind.name in NAMES]
    assert len(kinds) == len(NAMES)
    pairs = [pair for kind in kinds for pair in success.trials(kind, 1, (48,), (3.0, 300.0))]
    pairs += success.noise_alone(1, (16,))
    found = success.counts_of(pairs)
    assert found.right_ok == found.right
    assert found.right > 8
    assert found.wrong_ok == 0
    assert found.wrong > 40


NAMES = (
    "8 stars of width 1.5",
    "30 stars of width 1, equal",
    "texture of length 2",
    "texture of length 12",
)
