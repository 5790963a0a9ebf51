"""Named generators: independent streams, stable seeds, exact continuation."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.errors import CheckpointError
from nerf_ssim.runs.generators import Generators, stream_seed

NAMES = ("pixels", "jitter", "background", "ssim", "monitor", "init")


def draw(generators: Generators, name: str, count: int = 8) -> torch.Tensor:
    return torch.rand(count, generator=generators[name])


def test_one_seed_gives_the_same_streams():
    for name in NAMES:
        assert torch.equal(draw(Generators(7, NAMES), name), draw(Generators(7, NAMES), name))


def test_streams_differ_by_name_and_by_seed():
    streams = [draw(Generators(seed, NAMES), name) for seed in (7, 8) for name in NAMES]
    for index, stream in enumerate(streams):
        assert not any(torch.equal(stream, other) for other in streams[:index])


def test_drawing_from_one_stream_leaves_the_others_alone():
    busy, idle = Generators(7, NAMES), Generators(7, NAMES)
    draw(busy, "ssim", 1000)
    torch.rand(3)  # nor does the global generator matter
    assert torch.equal(draw(busy, "jitter"), draw(idle, "jitter"))


def test_a_further_name_does_not_change_the_streams_of_the_others():
    assert torch.equal(draw(Generators(7, ("pixels",)), "pixels"), draw(Generators(7, ("new", "pixels")), "pixels"))


def test_the_seed_of_a_stream_never_changes():
    # A run must draw the same rays on every machine and in every later version; Python's hash() would not do.
    assert stream_seed(20211202, "pixels") == 1001126083793907609


def test_a_restored_generator_continues_exactly():
    original = Generators(7, NAMES)
    for name in original:
        draw(original, name, 5)
    # A normal draw of odd length leaves half of a Box-Muller pair cached: it belongs to the state as well.
    torch.randn(3, generator=original["init"])
    states = original.state_dict()
    expected = {name: torch.randn(9, generator=original[name]) for name in original}
    restored = Generators(99, NAMES)
    restored.load_state_dict(states)
    for name in NAMES:
        assert torch.equal(torch.randn(9, generator=restored[name]), expected[name])


def test_a_saved_state_does_not_move_with_later_draws():
    generators = Generators(7, NAMES)
    states = generators.state_dict()
    before = {name: state.clone() for name, state in states.items()}
    draw(generators, "pixels", 2000)
    assert torch.equal(states["pixels"], before["pixels"])
    assert states["pixels"].dtype == torch.uint8


@pytest.mark.parametrize("break_it", ["missing", "short"])
def test_states_that_do_not_fit_are_refused_and_change_nothing(break_it):
    generators = Generators(7, NAMES)
    states = Generators(8, NAMES).state_dict()
    if break_it == "missing":
        del states["init"]
    else:
        states["init"] = states["init"][:100]
    with pytest.raises(CheckpointError, match="init"):
        generators.load_state_dict(states)
    for name in NAMES:
        assert torch.equal(draw(generators, name), draw(Generators(7, NAMES), name))


def test_a_state_of_a_stream_that_is_gone_is_left_out():
    """Runs of version 0.1 have the state of a stream that nothing drew from."""
    states = Generators(8, (*NAMES, "dropout")).state_dict()
    restored = Generators(7, NAMES)
    restored.load_state_dict(states)
    assert torch.equal(draw(restored, "init"), draw(Generators(8, NAMES), "init"))


def test_names_are_distinct_and_known():
    with pytest.raises(ValueError, match="distinct"):
        Generators(7, ("pixels", "pixels"))
    with pytest.raises(KeyError, match="pixels"):
        Generators(7, NAMES)["pixel"]
