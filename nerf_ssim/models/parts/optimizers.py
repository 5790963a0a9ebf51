"""Adam over named parameter groups, its learning rate as a pure function of the iteration, and cropping its moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nerf_ssim.ops.adam import adam_steps
from nerf_ssim.runs import schema

__all__ = [
    "BETAS",
    "FusedAdam",
    "ParameterGroup",
    "adam_schema",
    "counted_on",
    "crop_moments",
    "decay_factor",
    "make_adam",
    "restore_optimizer",
    "set_learning_rates",
]

BETAS = (0.9, 0.99)


ParameterGroup = tuple[str, list[nn.Parameter], float]
"""Name, parameters, and the learning rate that the group starts from."""


class FusedAdam(torch.optim.Adam):
    """PyTorch's Adam, on a GPU in one launch for all groups, whose state and steps are PyTorch's.

    How a step is computed is no part of its state, so that a run continues on another device and with another PyTorch.

    Args:
        params: parameters, or groups with their own `lr` and other entries.
        lr, betas: defaults of the groups.
    State of each parameter: `step` (a float32 scalar tensor), `exp_avg`, `exp_avg_sq`.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(params, lr=lr, betas=betas)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        updated = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        states = [self._state_of(parameter) for parameter, _ in updated]
        numbers = counted_on(states)
        constants = {(*group["betas"], group["eps"]) for _, group in updated}
        for beta1, beta2, eps in sorted(constants):  # as a rule one for all groups
            own = [i for i, (_, group) in enumerate(updated) if (*group["betas"], group["eps"]) == (beta1, beta2, eps)]
            adam_steps(
                [updated[i][0] for i in own],
                [updated[i][0].grad for i in own],
                [states[i]["exp_avg"] for i in own],
                [states[i]["exp_avg_sq"] for i in own],
                rates=[updated[i][1]["lr"] for i in own],
                steps=[numbers[i] for i in own],
                beta1=beta1,
                beta2=beta2,
                eps=eps,
            )
        return loss

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """The number of updates, which is kept on the CPU, and the moments."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    def state_dict(self) -> dict[str, Any]:
        """The state, and of each group what the optimiser was given: rates, betas, eps, names."""
        state = super().state_dict()
        ways = self._ways()
        groups = [{key: value for key, value in group.items() if key not in ways} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` returned, here or in a version with an Adam of its own."""
        ways = [{key: group[key] for key in self._ways()} for group in self.param_groups]
        saved = state_dict["param_groups"]
        groups = [{**group, **(ways[place] if place < len(ways) else {})} for place, group in enumerate(saved)]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def _ways(self) -> set[str]:
        """The options of PyTorch's Adam that say how it computes, or that are never used here."""
        return set(self.defaults) - {"lr", "betas", "eps"}


@torch.no_grad()
def counted_on(states: Sequence[Mapping[str, Tensor]]) -> list[int]:
    """Counts an update more in each parameter's state, on the CPU, and returns the numbers of the updates."""
    if not states:
        return []
    numbers = [state["step"] for state in states]
    torch._foreach_add_(numbers, 1)
    return [int(number) for number in torch.stack(numbers).tolist()]


def make_adam(groups: list[ParameterGroup]) -> FusedAdam:
    """Adam (0.9, 0.99, eps 1e-8) over `groups`; each keeps its name and its initial rate beside the present one."""
    return FusedAdam(
        [{"params": params, "lr": lr, "initial_lr": lr, "name": name} for name, params, lr in groups], betas=BETAS
    )


def decay_factor(target_ratio: float, decay_iters: int) -> float:
    """The factor an iteration that makes a rate fall to `target_ratio` in `decay_iters` iterations."""
    return target_ratio ** (1.0 / decay_iters)


def set_learning_rates(optimizer: torch.optim.Optimizer, scale: float) -> None:
    """Every group's rate becomes `scale` times its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * scale


def crop_moments(
    optimizer: torch.optim.Optimizer,
    replaced: dict[nn.Parameter, nn.Parameter],
    kept: dict[nn.Parameter, tuple[slice, ...]],
) -> None:
    """Makes the optimiser follow cropped parameters: old -> new, with the moments cropped alike.

    (The published code replaces the parameters and leaves Adam updating the old ones.)
    """
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is not None:
            is_moment = {key: torch.is_tensor(value) and value.shape == old.shape for key, value in state.items()}
            optimizer.state[new] = {
                key: value[kept[old]].clone() if is_moment[key] else value for key, value in state.items()
            }


LARGEST_STEP = 1e9
SET_EACH_STEP: Mapping[str, schema.Schema] = {
    "lr": schema.number(0),
    "initial_lr": schema.number(0),
    "tv_weight": schema.number(0),
    "tv_dense": schema.truth,
}
"""The entries of a parameter group that differ between moments of a run; the others never do."""


def adam_schema(optimizer: torch.optim.Optimizer) -> schema.Schema:
    """What the optimizer's `load_state_dict` takes; its parameters may lie on the device `meta`, without memory."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups = [
        schema.record({name: SET_EACH_STEP.get(name) or _same(value) for name, value in group.items()})
        for group in optimizer.state_dict()["param_groups"]
    ]
    states = {index: _moments_of(parameter) for index, parameter in enumerate(parameters)}

    def check_groups(value: Any, where: str) -> None:
        schema.list_of(lambda item, place: None, len(groups))(value, where)
        for index, (item, group) in enumerate(zip(value, groups, strict=True)):
            group(item, f"{where}[{index}]")

    return schema.record({"param_groups": check_groups, "state": schema.record(states, optional=states)})


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads `state`, but for the rates that the groups start from, which the options say."""
    rates = [group.get("initial_lr") for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if rate is not None:
            group["initial_lr"] = rate


def _moments_of(parameter: Tensor) -> schema.Schema:
    # A gradient's square may overflow where the weight stays finite: such a run goes on as it would have.
    moments = {
        "step": schema.tensor((), low=0, high=LARGEST_STEP),
        "exp_avg": schema.tensor(parameter.shape, parameter.dtype, is_finite=False),
        "exp_avg_sq": schema.tensor(parameter.shape, parameter.dtype, low=0, is_finite=False),
        "rates": schema.tensor(parameter.shape, parameter.dtype, low=0, high=1),
    }
    return schema.record(moments, optional=("rates",))


def _same(value: Any) -> schema.Schema:
    return schema.sequence_of_same(value) if isinstance(value, (list, tuple)) else schema.constant(value)
