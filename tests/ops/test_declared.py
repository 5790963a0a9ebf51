"""What every declared op promises: its kernel means its reference, and each derivative is right or refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from nerf_ssim.errors import DerivativeError
from nerf_ssim.ops import backend
from nerf_ssim.ops.comparison import converted, disagreement, in_float64, weights
from tests.ops.native_parity import require_native

OPS = backend.declared()
DIFFERENTIABLE = [name for name, op in OPS.items() if op.differentiable]


@pytest.fixture(autouse=True)
def kernels(request):
    require_native(request.node.callspec.params["name"])


def example(op):
    return next(iter(op.examples()))


def as_tuple(results):
    return (results,) if isinstance(results, Tensor) else tuple(results)


def scalar(op, function, args):
    """The variables as a tuple, and a function of them: the results' weighted squares, a sum that bends."""
    results_of = op.natively if function is None else function

    def value(*variables: Tensor) -> Tensor:
        results = as_tuple(results_of(*op.with_variables(args, variables)))
        chosen = [results[place] for place in op.differentiable_results]
        return sum((weights(each) * (each + 0.1 * each * each)).sum() for each in chosen)

    return value, tuple(op.variables(args))


def assert_close(op, actual, exact):
    for a, e in zip(actual, exact, strict=True):
        scale = max(1e-3, float(e.detach().abs().max())) if e.numel() else 1.0
        torch.testing.assert_close(
            a.detach().double() / scale,
            e.detach().double() / scale,
            rtol=0,
            atol=10 * op.tolerance,
        )


def exact_gradient(op, args):
    value, variables = scalar(op, op.reference, in_float64(args))
    variables = [each.detach().requires_grad_() for each in variables]
    return torch.autograd.grad(value(*variables), variables)


@pytest.mark.parametrize("name", OPS)
def test_the_kernel_means_what_the_reference_means(name):
    assert disagreement(OPS[name], "cpu") == ""


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_functional_gradient_is_right(name):
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, None, args)
    places = tuple(range(len(variables)))
    assert_close(op, torch.func.grad(value, places)(*variables), exact_gradient(op, args))


def batched(variables):
    return tuple(torch.stack([each, each * 0.9, each * 0.8]) for each in variables)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_batches_are_their_slices(name):
    """vmap, the gradient inside a vmap, and the gradient of a vmap."""
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, None, args)
    batch, places = batched(variables), tuple(range(len(variables)))
    slices = [tuple(each[i] for each in batch) for i in range(3)]
    torch.testing.assert_close(torch.vmap(value)(*batch), torch.stack([value(*each) for each in slices]))
    expected = [
        torch.stack(column) for column in zip(*(torch.func.grad(value, places)(*s) for s in slices), strict=True)
    ]
    inside = torch.vmap(torch.func.grad(value, places))(*batch)
    outside = torch.func.grad(lambda *each: torch.vmap(value)(*each).sum(), places)(*batch)
    for each in (inside, outside):
        torch.testing.assert_close(list(each), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_upstream_gradients_may_come_in_a_batch(name):
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, None, args)
    alone = torch.func.vjp(value, *variables)[1](torch.tensor(1.0))
    batch = torch.vmap(torch.func.vjp(value, *variables)[1])(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close([each[1] for each in batch], [2 * each for each in alone], rtol=1e-5, atol=1e-6)


def penalty_gradients(value, variables):
    """The gradient of a gradient penalty."""
    variables = [each.detach().requires_grad_() for each in variables]
    gradients = torch.autograd.grad(value(*variables), variables, create_graph=True)
    penalty = sum((weights(each) * each.square()).sum() for each in gradients)
    return torch.autograd.grad(penalty + value(*variables), variables)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivative_is_right_or_refused(name):
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, None, args)
    if op.first_derivative_only:
        with pytest.raises(DerivativeError, match=f"{name}: has no second derivative"):
            penalty_gradients(value, variables)
        return
    exact_value, exact_variables = scalar(op, op.reference, in_float64(args))
    exact = penalty_gradients(exact_value, exact_variables)
    assert max(float(each.abs().max()) for each in exact) > 0
    assert_close(op, penalty_gradients(value, variables), exact)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if not OPS[name].first_derivative_only])
def test_derivatives_nest(name):
    """The Hessian's product with a vector by two functional gradients, also inside a vmap, and a third derivative."""
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, None, args)
    exact_value, exact_variables = scalar(op, op.reference, in_float64(args))

    def product(function):
        return torch.func.grad(lambda first, *rest: torch.func.grad(function)(first, *rest).square().sum())

    def third(function):
        return torch.func.grad(lambda first, *rest: product(function)(first, *rest).square().sum())

    assert_close(op, [product(value)(*variables)], [product(exact_value)(*exact_variables)])
    in_batch = torch.vmap(product(value))(*batched(variables))
    assert_close(op, [in_batch[0]], [product(exact_value)(*exact_variables)])
    if name in ("planes_tv", "accumulate", "siren"):  # the others take seconds, and go the same way
        assert_close(op, [third(value)(*variables)], [third(exact_value)(*exact_variables)])


@pytest.mark.parametrize("name", OPS)
def test_forward_mode_is_right_or_refused(name):
    op, args = OPS[name], example(OPS[name])

    def dual(each):
        return forward_ad.make_dual(each, torch.ones_like(each)) if each.is_floating_point() else each

    with forward_ad.dual_level():
        if op.in_place or op.is_constant or op.first_derivative_only:
            with pytest.raises(DerivativeError, match=name):
                op(*converted(args, dual))
            return
        results = op(*converted(args, dual))
        exact = op.reference(*converted(in_float64(args), dual))
        for place in range(op.results) if op.differentiable else (0,):
            tangent, expected = (forward_ad.unpack_dual(as_tuple(each)[place]).tangent for each in (results, exact))
            assert (tangent is None) == (expected is None)
            if expected is not None:
                assert_close(op, [tangent], [expected])


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_mode_through_transforms_is_right_or_refused(name):
    """What hides the tangent from the op's own look: a batch, a gradient, and a compiled call."""
    op, args = OPS[name], example(OPS[name])
    value, variables = scalar(op, op, args)
    exact_value, exact_variables = scalar(op, op.reference, in_float64(args))
    ones = tuple(map(torch.ones_like, variables))
    exact_ones = tuple(map(torch.ones_like, exact_variables))

    def right_or_refused(transform, op=op):
        try:
            actual = torch.func.jvp(transform(value), variables, ones)[1]
        except Exception as error:
            assert isinstance(error, DerivativeError) and name in str(error), repr(error)
            return
        try:
            exact = torch.func.jvp(transform(exact_value), exact_variables, exact_ones)[1]
        except RuntimeError:
            pytest.fail(f"not refused where the reference has none: {actual}")
        assert_close(op, [actual], [exact])

    right_or_refused(lambda function: lambda *each: torch.vmap(function)(*(e[None] for e in each)).sum())
    right_or_refused(lambda function: lambda *each: torch.func.grad(function)(*each))
    right_or_refused(lambda function: torch.no_grad()(function))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OPS if OPS[name].compiles and not OPS[name].in_place])
def test_a_compiled_call_is_one_graph_and_means_the_same(name):
    op, args = OPS[name], example(OPS[name])
    torch.compiler.reset()
    if not op.differentiable:
        pytest.skip("its sizes depend on data, or nothing is differentiated")
    value, variables = scalar(op, op, args)
    variables = [each.detach().requires_grad_() for each in variables]
    compiled = torch.compile(value, fullgraph=True, backend="aot_eager")(*variables)
    torch.testing.assert_close(compiled, value(*variables))
    assert_close(op, torch.autograd.grad(compiled, variables), exact_gradient(op, args))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if OPS[name].compiles])
def test_second_derivative_of_a_compiled_call_is_right_or_refused(name):
    op, args = OPS[name], example(OPS[name])
    torch.compiler.reset()
    value, variables = scalar(op, op, args)
    compiled = torch.compile(value, fullgraph=True, backend="aot_eager")
    try:
        actual = penalty_gradients(compiled, variables)
    except RuntimeError as error:
        assert "does not currently support double backward" in str(error)
        return
    except DerivativeError:
        assert op.first_derivative_only
        return
    exact_value, exact_variables = scalar(op, op.reference, in_float64(args))
    assert_close(op, actual, penalty_gradients(exact_value, exact_variables))
