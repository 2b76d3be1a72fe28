"""Logs of boards that nobody has: in the self-test's format, with figures that a test chooses."""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from firmware_sim.board.table import Priced
from firmware_sim.bundle import Bundle, program_digest
from firmware_sim.timing import Cycles

DWT = "name=dwt asked=dwt mask=4294967295 overhead=3 chain=256 least=261 most=261"
BINS, OVERHEAD = 100, 3


def written(lines: Sequence[tuple[str, str]], ending: str = "\r\n") -> bytes:
    """Numbers and checksums around kinds and contents."""
    texts = [f"@realm {number} {kind} {rest}" for number, (kind, rest) in enumerate(lines)]
    return "".join(f"{text} *{zlib.crc32(text.encode()):08x}{ending}" for text in texts).encode()


def head(
    prefix: str = "realm_lfp", digest: str = "0" * 64, build: str = "cortex-m4", counter: str = DWT, bins: int = BINS
) -> list[tuple[str, str]]:
    """All lines before the regions, of a board where every bit agrees."""
    bits = f"bins={bins} outputs=2 wrong=0 bin=0 output=0 expected=0 got=0"
    return [
        ("log", "realm-edge-board 1"),
        ("bundle", f"prefix={prefix} stream=lfp build={build} digest={digest}"),
        ("version", "0.1.0"),
        ("schema", "realm-edge bundle/3"),
        ("board", "NUCLEO-L4R5ZI"),
        ("clock", "hz=120000000"),
        ("compiler", "12.2.1 20221205"),
        ("flags", "-O2"),
        ("weights", "found=1a08c9bd expected=1a08c9bd"),
        ("bits", f"by=model {bits} features=none"),
        ("bits", f"by=stage {bits} features=equal"),
        ("bits", f"by=kernel {bits} features=equal"),
        ("counter", counter),
    ]


def region(stage: str, symbol: str, visits: int, total: int) -> tuple[str, str]:
    """One region, all of whose visits are about as long."""
    least = total // visits
    return "region", f"stage={stage} symbol={symbol} visits={visits} least={least} most={least + bool(total % visits)} sum={total}"


def ended(lines: Sequence[tuple[str, str]], agrees: int = 1) -> list[tuple[str, str]]:
    return [*lines, ("end", f"lines={len(lines) + 1} agrees={agrees}")]


def priced(bundle: Bundle, of: Callable[[str], float] = lambda name: 1000.0 * (1 + len(name) % 7)) -> Priced:
    """A table's figures by a rule, over all bins; the driver of each stage has 40 a bin."""
    kernels = {kernel.symbol: _cycles(BINS * of(kernel.symbol)) for stage in bundle.stages for kernel in stage.kernels}
    stages = {
        name: _cycles(40 * BINS + sum(kernels[symbol].cycles for symbol in {kernel.symbol for kernel in stage.kernels}))
        for name, stage in bundle.named_stages.items()
    }
    return Priced(stages, kernels)


def _cycles(value: float) -> Cycles:
    return Cycles(value, 0.9 * value, 1.2 * value)


def distorted(bundle: Bundle, table: Priced, factors: Mapping[str, float], counter: str = DWT, bins: int = BINS) -> list[tuple[str, str]]:
    """What a board would write whose kernels take ``factors`` times what the table says, 1 where none is given."""
    lines = head(bundle.prefix, program_digest(bundle.path), bundle.target, counter, bins)
    lines = [(kind, rest.replace("stream=lfp", f"stream={bundle.stream}")) for kind, rest in lines]
    lines.append(region("model", "", bins, 400 * bins))
    totals = {symbol: round(cycles.cycles * factors.get(symbol, 1.0)) for symbol, cycles in table.kernels.items()}
    for name, stage in bundle.named_stages.items():
        symbols = {kernel.symbol for kernel in stage.kernels}
        driver = table.stages[name].cycles - sum(table.kernels[symbol].cycles for symbol in symbols)
        visits = bins * (bundle.blocks_per_bin if name == "frontend" else 1)
        lines.append(region(name, "", visits, round(driver + sum(totals[symbol] for symbol in symbols)) + OVERHEAD * visits))
    for name, stage in bundle.named_stages.items():
        calls = Counter(kernel.symbol for kernel in stage.kernels)
        first = set()
        for kernel in stage.kernels:  # equal parts, and what is left over by the first
            part, left = divmod(totals[kernel.symbol], calls[kernel.symbol])
            visits = bins * (bundle.blocks_per_bin if name == "frontend" else 1)
            total = part + (0 if kernel.symbol in first else left) + OVERHEAD * visits
            lines.append(region(name, kernel.symbol, visits, total))
            first.add(kernel.symbol)
    return ended(lines)
