"""The colour decoder as a GPU computes it, on a CPU: its results, its gradients, and the bytes that it moves."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.predicted import PRECISIONS, decoder_bytes
from nerf_ssim.ops import backend
from nerf_ssim.ops import decoder as ops
from nerf_ssim.ops.reference import decoder as reference
from tests.ops.decoder_cases import SHAPES, make_case, needs_native
from tests.ops.decoder_stand_ins import path_of_a_gpu

pytestmark = needs_native  # it defines the operators
MOST_BYTES = {"float32": 12_000, "tf32": 12_000, "bf16": 6_000}
NO_TRAFFIC = {"aten.view", "aten.t", "aten.transpose", "aten.detach", "aten.slice", "aten.split_with_sizes",
              "aten.numpy_T", "aten.permute", "aten.alias", "aten.empty"}  # fmt: skip


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    with path_of_a_gpu(monkeypatch):
        yield


def decoded(case, precision):
    """Colours and gradients of features and weights, natively, whatever precision this machine has."""
    features, directions, layers, frequencies = case
    rgb = ops.DECODE_COLOR.natively(features, directions, *layers, *frequencies.values(), precision)
    upstream = torch.linspace(-1.0, 2.0, rgb.numel()).reshape(rgb.shape)
    return rgb.detach(), torch.autograd.grad((rgb * upstream).sum(), (features, *layers))


def specified(case, precision):
    """The same by the specification in float64."""
    features, directions, layers, frequencies = case
    tensors = [tensor.detach().double().requires_grad_() for tensor in (features, *layers)]
    linear = reference.linear_bfloat16 if precision == "bf16" else torch.nn.functional.linear
    rgb = reference.decode_color(tensors[0], directions.double(), *tensors[1:], *frequencies.values(), linear=linear)
    upstream = torch.linspace(-1.0, 2.0, rgb.numel()).double().reshape(rgb.shape)
    return rgb.detach(), torch.autograd.grad((rgb * upstream).sum(), tensors)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [0, 1, 40, 600])
def test_float32_is_the_specification(samples, shape):
    case = make_case(samples, shape)
    (rgb, gradients), (exact, exact_gradients) = decoded(case, "float32"), specified(case, "float32")
    torch.testing.assert_close(rgb.double(), exact, rtol=0, atol=1e-6)
    for gradient, other in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 600])
def test_bf16_is_the_specification_up_to_the_roundings_that_are_named(samples, shape):
    """The bias of a hidden layer is rounded, which the specification does not do; some numbers then differ by 2^-8."""
    case = make_case(samples, shape)
    (rgb, gradients), (exact, exact_gradients) = decoded(case, "bf16"), specified(case, "bf16")
    torch.testing.assert_close(rgb.double(), exact, rtol=0, atol=8e-3)
    for gradient, other in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - other).norm() <= 0.03 * other.norm()


def test_weight_gradients_are_summed_in_float32():
    """Many samples alike: a sum in bfloat16 could not hold more than 256 of them."""
    features, directions, layers, frequencies = make_case(1, "plain_odd")
    many = 2000
    repeated = features.detach().expand(many, -1).contiguous().requires_grad_(), directions.expand(many, 3)
    _, of_one = decoded((features, directions, layers, frequencies), "bf16")
    rgb = ops.DECODE_COLOR.natively(*repeated, *layers, *frequencies.values(), "bf16")
    upstream = torch.linspace(-1.0, 2.0, 3).expand(many, 3)
    of_many = torch.autograd.grad((rgb * upstream).sum(), layers)
    for many_times, once in zip(of_many, of_one[1:], strict=True):
        torch.testing.assert_close(many_times / many, once, rtol=1e-4, atol=1e-6)


def test_without_a_gradient_nothing_is_kept():
    features, directions, layers, frequencies = make_case(50)
    with torch.no_grad():
        outputs = ops.DECODE_COLOR.outputs((False,) * 7, None, (features, directions, *layers, 2, 2, "float32"))
    assert len(outputs) == 1


def test_second_derivative_and_slices_are_those_of_the_specification():
    features, directions, layers, frequencies = make_case(12, "plain_odd")
    arguments = directions, *layers, *frequencies.values()

    def penalty(function, dtype):
        variable = features.detach().to(dtype).requires_grad_()
        others = [each.to(dtype) if isinstance(each, torch.Tensor) else each for each in arguments]
        (gradient,) = torch.autograd.grad(function(variable, *others).square().sum(), variable, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), variable)[0]

    native = penalty(lambda *each: ops.DECODE_COLOR.natively(*each, "float32"), torch.float32)
    torch.testing.assert_close(native.double(), penalty(reference.decode_color, torch.float64), rtol=1e-4, atol=1e-6)
    functional = torch.func.grad(lambda each: ops.DECODE_COLOR.natively(each, *arguments, "float32").sum())(features)
    expected = torch.func.grad(lambda each: reference.decode_color(each, *arguments).sum())(features)
    torch.testing.assert_close(functional, expected, rtol=1e-4, atol=1e-6)


def test_autocast_changes_nothing():
    case = make_case(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = decoded(case, "float32")
    torch.testing.assert_close(inside, decoded(case, "float32"), rtol=0, atol=0)


def test_products_are_tf32_only_inside_the_decoder():
    matmul = torch.backends.cuda.matmul
    name = "fp32_precision" if hasattr(matmul, "fp32_precision") else "allow_tf32"
    before, seen = getattr(matmul, name), []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "mm" in str(function.overloadpacket):
                seen.append(getattr(matmul, name))
            return function(*args, **(kwargs or {}))

    with Watch():
        decoded(make_case(20), "tf32")
    assert len(seen) == 7 and set(seen) == {"tf32" if name == "fp32_precision" else True}
    assert getattr(matmul, name) == before


class Traffic(TorchDispatchMode):
    """Bytes of all tensors of a size by the sample that each operator reads and writes, by operator."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples, self.bytes = samples, Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name, schema = str(function.overloadpacket), function._schema
        if name in NO_TRAFFIC:
            return out
        changed = [a for a, of in zip(args, schema.arguments, strict=False) if of.alias_info and of.alias_info.is_write]
        made = [] if any(of.alias_info for of in schema.returns) else [out]
        for each in tree_leaves((args, kwargs, changed, made)):
            if isinstance(each, torch.Tensor) and self.samples in each.shape:
                self.bytes[name] += each.numel() * each.element_size()
        return out


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_bytes_a_sample_of_a_training_step(precision):
    samples = 4099
    features, directions, layers, frequencies = make_case(samples)
    upstream = torch.ones(samples, 3)
    with Traffic(samples) as traffic:
        rgb = ops.DECODE_COLOR.natively(features, directions, *layers, *frequencies.values(), precision)
        torch.autograd.grad(rgb, (features, *layers), upstream)
    by_operator = {name: round(count / samples) for name, count in traffic.bytes.most_common()}
    total = sum(traffic.bytes.values()) / samples
    print(precision, round(total), by_operator)
    assert total <= MOST_BYTES[precision], by_operator
    assert total == decoder_bytes(27, 150, 128, PRECISIONS[precision]), "docs/performance.md predicts from this"


def test_a_gpu_counts_as_native_where_its_four_kernels_are():
    op = backend.declared()["decode_color"]
    assert set(op.kernels["cuda"]) == set(op.operator_names) - set(op.kernels["cpu"])


def test_tf32_on_a_cpu_is_float32_and_says_so():
    precision, reason = ops.effective_precision("tf32", "cpu")
    assert precision == "float32" and "only GPUs" in reason
    features, directions, layers, frequencies = make_case(30)
    colours = [ops.decode_color(features, directions, layers, **frequencies, precision=p) for p in ("float32", "tf32")]
    assert torch.equal(*colours)


@pytest.mark.parametrize(
    ("capability", "implementation", "precision", "words"),
    [
        ((7, 5), "native", "float32", "T4, compute capability 7.5 has no TensorFloat-32"),
        ((8, 0), "reference", "float32", "only the CUDA kernels have (not built)"),
        ((8, 9), "native", "tf32", "tensor cores"),
    ],
)
def test_tf32_on_a_gpu_needs_its_units_and_the_kernels(capability, implementation, precision, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "T4")
    monkeypatch.setattr(backend, "describe", lambda device: {"decode_color": (implementation, "not built")})
    ran, reason = ops.effective_precision("tf32", "cuda:1")
    assert ran == precision and words in reason
