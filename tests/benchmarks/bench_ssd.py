"""The chunked forward of a student's mixer against its loop of steps: python tests/benchmarks/bench_ssd.py

Prints, for the mixer of the implant-m student, how many times faster the chunked forward is, by length and batch. Both are timed in one
process, alternately, on one thread and without gradients; only their ratio is meant to be compared between machines.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from realm_edge.models.mamba2 import Mamba2, Mamba2State
from realm_edge.settings import preset

LENGTHS, BATCHES = (500, 5000), (1, 16)
ROUNDS = 5  # the median of their ratios is printed
TOLERANCE = 1e-5  # of the largest value


def seconds(compute: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = compute()
    return time.perf_counter() - start, result


@torch.no_grad()
def measure(mixer: Mamba2, batch: int, bins: int) -> tuple[list[float], float]:
    """Ratios, one a round, of the step loop's time to the forward's, and the outputs' largest difference over the largest output."""
    u = torch.randn(batch, bins, mixer.settings.d_model)

    def chunked() -> Tensor:
        return mixer(u)[0]

    def sequential() -> Tensor:
        state = Mamba2State.alloc(mixer.settings, batch, u)
        outputs = []
        for index in range(bins):
            y, state = mixer.step(u[:, index], state)
            outputs.append(y)
        return torch.stack(outputs, dim=1)

    chunked()  # allocates
    ratios = []
    for _ in range(ROUNDS):
        (short, got), (long, expected) = seconds(chunked), seconds(sequential)
        ratios.append(long / short)
    return ratios, float((got - expected).abs().max() / expected.abs().max())


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    mixer = Mamba2(preset("implant-m").student)
    print(f"{'batch':>5} {'bins':>6} {'step loop / forward':>20} {'smallest to largest':>21} {'difference':>11}")
    for batch in BATCHES:
        for bins in LENGTHS:
            ratios, error = measure(mixer, batch, bins)
            print(f"{batch:>5} {bins:>6} {statistics.median(ratios):>19.1f}x {min(ratios):>10.1f} to {max(ratios):>6.1f}x {error:>11.1e}")
            if error > TOLERANCE:
                raise SystemExit(f"forward and steps differ by {error:.1e} of the largest value")


if __name__ == "__main__":
    main()
