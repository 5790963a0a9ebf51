"""Named random generators: randomness belongs to its consumer, so removing one consumer changes no other's draws."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.errors import CheckpointError
from nerf_ssim.rays.share import Share
from nerf_ssim.runs.schema import Schema, Unsound, at, tensor


def stream_seed(seed: int, name: str) -> int:
    """The seed of the stream `name` under the run's `seed`: a 63-bit hash, the same in every process and version.

    Python's own `hash` is salted per process, and `seed + index` makes neighbouring runs share streams.
    """
    digest = hashlib.blake2b(f"nerf_ssim/{int(seed)}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class ShapesOnly(torch.Generator):
    """A generator on the device `meta`: what is made where it lives has a shape, no memory and no numbers."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # an attribute that is only read
        """`meta`."""
        return torch.device("meta")


class Generators:
    """One `torch.Generator` per consumer of randomness, all on the CPU, so that every device sees the same numbers.

    Example:
        >>> generators = Generators(20211202, ["jitter"])
        >>> jitter = torch.rand(4096, generator=generators["jitter"])

    Args:
        seed: the run's seed, any integer.
        names: the consumers, distinct.
    Attributes:
        share: the rays of a batch that numbers are wanted for; None for all.
    Raises:
        ValueError: a name that comes twice.
    """

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        if len(set(names)) != len(names):
            raise ValueError(f"generator names must be distinct, got {tuple(names)}")
        self.seed = int(seed)
        self.share: Share | None = None
        self._sketch: ShapesOnly | None = None
        self._streams = {name: torch.Generator().manual_seed(stream_seed(self.seed, name)) for name in names}

    def __getitem__(self, name: str) -> torch.Generator:
        try:
            stream = self._streams[name]
            return stream if self._sketch is None else self._sketch
        except KeyError:
            raise KeyError(f"no generator named {name!r}; there are: {', '.join(self._streams)}") from None

    def for_rays(self, name: str, count: int, *shape: int) -> Tensor:
        """Numbers in [0, 1) for each of `count` rays, `[count, *shape]`, from the stream `name`.

        They are those of the rays of `share`, of the numbers that are drawn for the whole batch.
        """
        whole = count if self.share is None else self.share.whole
        numbers = torch.rand((whole, *shape), generator=self[name])
        return numbers if self.share is None else numbers[self.share.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @contextmanager
    def shapes_only(self) -> Iterator[None]:
        """Within the block every stream is a `ShapesOnly`: what is made of it shows what it would be, at no cost."""
        before, self._sketch = self._sketch, ShapesOnly()
        try:
            yield
        finally:
            self._sketch = before

    def schema(self) -> Schema:
        """What `load_state_dict` takes: a state of each stream's kind. Further streams are left out there."""
        fits = {name: tensor(stream.get_state().shape, torch.uint8) for name, stream in self._streams.items()}

        def check(states: Any, where: str) -> None:
            if type(states) is not dict:
                raise Unsound(where, "is not a record of generators")
            for name, fit in fits.items():
                if name not in states:
                    raise Unsound(at(where, name), "is missing")
                fit(states[name], at(where, name))

        return check

    def state_dict(self) -> dict[str, Tensor]:
        """Each generator's state by name, uint8 tensors on the CPU, copies."""
        return {name: stream.get_state().clone() for name, stream in self._streams.items()}

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        """Continue each stream exactly where `states` (from `state_dict`) left it.

        Nothing changes unless every state fits. A state without a generator is left out: earlier versions had a stream
        that nothing drew from.

        Raises:
            CheckpointError: a generator without a state, or a state of something else.
        """
        if missing := sorted(set(self._streams) - set(states)):
            raise CheckpointError(f"random generator states don't fit this run (missing: {', '.join(missing)})")
        states = {name: states[name] for name in self._streams}
        # Rehearsed on fresh generators first: a state that doesn't fit must not leave half of the streams moved.
        for name, state in states.items():
            try:
                torch.Generator().set_state(state)
            except (RuntimeError, TypeError) as error:
                raise CheckpointError(
                    f"the state of random generator {name!r} is not of a generator on the CPU; versions before 0.2.0 "
                    "drew on the GPU: go on with the version that wrote it, or train anew"
                ) from error
        for name, state in states.items():
            self._streams[name].set_state(state)
