"""A call that is made again in a backward pass, as `torch.utils.checkpoint` does, is to draw what it drew before."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

__all__ = ["PastCalls", "is_in_backward", "may_be_made_again"]

MOST = 256  # calls that are remembered: so many updates may lie between a call and its repetition
SAMPLES = 32  # numbers of each tensor by which a call is known again


def is_in_backward() -> bool:
    """Whether a backward pass is under way in this thread: what calls from there is computed again, as a rule."""
    return torch._C._current_graph_task_id() != -1


def may_be_made_again() -> bool:
    """Whether something around a call may make it again: it has gradients off, or catches what is saved for them."""
    caught = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return caught is None or not torch.is_grad_enabled() or caught(False) is not None


class PastCalls:
    """What the last calls of a loss were given, a few numbers of it, and the state that each drew from.

    The numbers stay on their device, and nothing waits for them before a call is looked up.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[_Sample, Tensor]] = deque(maxlen=MOST)

    def remember(self, state: Tensor, *given: Tensor) -> None:
        """Takes down that a call with the tensors `given`, all of one type and device, drew from `state`."""
        if torch._C._functorch.peek_interpreter_stack() is None:  # tensors of a transform do not outlive it
            self._calls.append((_sample(given), state))

    def state_of(self, *given: Tensor) -> Tensor | None:
        """The state that the latest call with `given` drew from; None where there was none."""
        shapes, numbers = _sample(given)
        for (past_shapes, past_numbers), state in reversed(self._calls):
            if past_shapes == shapes and past_numbers.device == numbers.device and torch.equal(past_numbers, numbers):
                return state
        return None


_Sample = tuple[tuple[torch.Size, ...], Tensor]


def _sample(given: tuple[Tensor, ...]) -> _Sample:
    """The shapes of the tensors, and numbers that are spread evenly over each."""
    with torch.inference_mode(False), torch.no_grad():
        flat = [each.detach().reshape(-1) for each in given]
        parts = [each[:: max(1, each.numel() // SAMPLES)] for each in flat]
        return tuple(each.shape for each in given), torch.cat(parts)
