"""What a training step and the loss of 3D Gaussian splatting should take on a GPU: `python -m benchmarks.predicted`.

It follows from counts of bytes and operations. No GPU is needed, and none has measured this. Each part takes as long as
the slowest of its memory, its cache and its products, at a share of the card's published rates; parts follow one
another. The host is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

# What kernels of their kind usually reach of the published rate. Of the caches only rough figures are known.
MEMORY_REACHED, CACHE_REACHED, PRODUCTS_REACHED = 0.8, 0.5, 0.7
PRECISIONS = {"float32": 4, "tf32": 4, "bf16": 2}  # bytes of a hidden number


@dataclass(frozen=True)
class Card:
    """Rates of a card: memory and cache in GB/s, products in TFLOP/s by precision (dense), from its data sheet."""

    name: str
    memory: float
    cache: float
    products: dict[str, float]


CARDS = (
    Card("H200", 4800, 7000, {"float32": 67, "tf32": 495, "bf16": 989}),
    Card("RTX 4090", 1008, 5000, {"float32": 82.6, "tf32": 82.6, "bf16": 165}),
    Card("A100 80 GB", 2039, 5000, {"float32": 19.5, "tf32": 156, "bf16": 312}),
)


@dataclass(frozen=True)
class Part:
    """A part of a step: bytes that go to memory and bytes that a cache may serve, and operations of its products."""

    memory: float = 0
    cache: float = 0
    operations: float = 0

    def milliseconds(self, card: Card, precision: str) -> float:
        """On that card, in whichever of the three takes longest."""
        return 1e3 * max(
            self.memory / (MEMORY_REACHED * card.memory * 1e9),
            self.cache / (CACHE_REACHED * card.cache * 1e9),
            self.operations / (PRODUCTS_REACHED * card.products[precision] * 1e12),
        )


@dataclass(frozen=True)
class State:
    """A step's counts: samples with a density and with a colour, parameters, bytes for each, the decoder's widths.

    `density_bytes` and `colour_bytes` are those of a sample forward and backward as docs/kernels.md has them
    (requested, read and written), `update_bytes` those of a parameter in regularisers and optimiser.
    """

    name: str
    density_samples: float
    coloured: float
    density_bytes: float
    colour_bytes: float
    parameters: float
    update_bytes: float
    features: int = 27
    inputs: int = 150
    hidden: int = 128
    basis_operations: float = 3 * 2 * 144 * 27


# Marching, softplus, compositing, sums over rays and the choice of coloured samples, of a density sample.
RAY_BYTES = 250
# A density channel: 6 nodes of 4 bytes forward and as many backward, 4 to 6 additions; so 16 of them, 48 of appearance.
VM_DENSITY, VM_COLOUR = 1284 + 2454, 3 * (1280 + 2454)
ADAM, PLANE_TV = 28, 28  # a parameter: read and written by Adam; read twice, added, cleared by total variation
VOXEL_ADAM, VOXEL_TV = 32, 8
FLAG_BYTES = 2 / 64  # of an element, read by total variation and by the update
TOUCHED = 0.05  # of a 320^3 grid's elements in a sparse step: assumed
SPARSE_UPDATE = FLAG_BYTES + TOUCHED * (VOXEL_ADAM + VOXEL_TV + 4)
STATES = (
    State("TensoRF, start (128^3)", 645e3, 645e3, VM_DENSITY, VM_COLOUR, 3.2e6, ADAM + PLANE_TV),
    State("TensoRF, trained (300^3)", 1.44e6, 571e3, VM_DENSITY, VM_COLOUR, 17.7e6, ADAM + PLANE_TV),
    State(
        "DVGO, step 0 (63^3)", 312e3, 312e3, 96, 12 * 96, 13 * 63**3, VOXEL_ADAM + VOXEL_TV,
        features=12, inputs=39, basis_operations=0,
    ),
    State(
        "DVGO, 320^3, dense", 312e3, 312e3, 96, 12 * 96, 13 * 320**3, VOXEL_ADAM + VOXEL_TV,
        features=12, inputs=39, basis_operations=0,
    ),
    State(
        "DVGO, 320^3, sparse", 312e3, 312e3, 96, 12 * 96, 13 * 320**3, SPARSE_UPDATE,
        features=12, inputs=39, basis_operations=0,
    ),
)  # fmt: skip

PICTURE = 3 * 1920 * 1080
# A pixel and channel of the loss and its gradient. Memory has to move both images twice, three maps of derivatives both
# ways and the gradient; halos of tiles, 32x16 ones here, come from the cache. L1 by PyTorch is a difference, its size
# and a mean, then a quotient, a sign, a product, and the sum of two gradients.
FUSED_LOSS = Part(memory=PICTURE * (8 + 12 + 20 + 4), cache=PICTURE * (17.1 + 12 + 33.6 + 4))
L1_BY_PYTORCH = Part(memory=PICTURE * (12 + 8 + 4 + 4 + 8 + 12 + 12))


def decoder_bytes(features: int, inputs: int, hidden: int, size: int) -> int:
    """Bytes that a training step of the colour decoder moves for a sample, as `ops.decoder_products` computes it.

    Args:
        inputs: width of the first layer's input, which is padded to a multiple of eight.
        size: bytes of a hidden number.
    """
    padded = -(-inputs // 8) * 8
    return 12 * features + 96 + 5 * size * padded + 15 * size * hidden


def decoder_operations(inputs: int, hidden: int) -> int:
    """Operations of a sample's products, forward and for both gradients."""
    padded = -(-inputs // 8) * 8
    return 3 * 2 * (padded * hidden + hidden * hidden + 3 * hidden)


def parts(state: State, precision: str) -> dict[str, Part]:
    """The parts of a step."""
    size = PRECISIONS[precision]
    decoder = decoder_bytes(state.features, state.inputs, state.hidden, size)
    operations = decoder_operations(state.inputs, state.hidden)
    return {
        "rays": Part(memory=state.density_samples * RAY_BYTES),
        "density": Part(cache=state.density_samples * state.density_bytes),
        "colour": Part(cache=state.coloured * state.colour_bytes),
        "basis": Part(operations=state.coloured * state.basis_operations),
        "decoder": Part(memory=state.coloured * decoder, operations=state.coloured * operations),
        "update": Part(memory=state.parameters * state.update_bytes),
    }


def milliseconds(state: State, card: Card, precision: str) -> dict[str, float]:
    """By part; the basis stays in float32 in every precision."""
    made = parts(state, precision)
    return {name: part.milliseconds(card, "float32" if name == "basis" else precision) for name, part in made.items()}


def main() -> None:
    """Print the tables of docs/performance.md."""
    names = [f"{card.name}, {precision}" for card in CARDS for precision in PRECISIONS]
    print(f"| milliseconds a step | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for state in STATES:
        cells = []
        for card in CARDS:
            for precision in PRECISIONS:
                by_part = milliseconds(state, card, precision)
                cells.append(f"{sum(by_part.values()):.1f} ({by_part['decoder']:.1f})")
        print(f"| {state.name} | {' | '.join(cells)} |")
    print(f"\n| milliseconds a picture of 1920x1080 | {' | '.join(card.name for card in CARDS)} |")
    print(f"|---|{'---|' * len(CARDS)}")
    for name, losses in {"one operator": (FUSED_LOSS,), "SSIM, and L1 by PyTorch": (FUSED_LOSS, L1_BY_PYTORCH)}.items():
        cells = [f"{sum(part.milliseconds(card, 'float32') for part in losses):.2f}" for card in CARDS]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
