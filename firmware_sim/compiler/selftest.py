"""The self-test of a bundle in C: ``selftest/`` beside its sources, for a board (docs/boards.md) and for QEMU."""

from importlib.resources import files
from pathlib import Path
from string import Template

from firmware_sim.bundle import program_digest
from firmware_sim.compiler.c_text import for_c_and_cpp
from firmware_sim.compiler.driver import AT, MEMORY_FUNCTIONS, body, prototypes, signature
from firmware_sim.compiler.model import Model
from firmware_sim.compiler.plan import Call, Plan
from firmware_sim.compiler.selftest_vectors import Extent, Vectors
from realm_edge.files import write_text

FOLDER = "selftest"
_VALUES_PER_LINE = 24


def extent_of(model: Model) -> Extent:
    """Of the self-test of a model."""
    return Extent(model.first.graph.inputs[0].shape[0], model.bin_ticks)


def write_selftest(directory: Path, model: Model, stream: str, vectors: Vectors) -> None:
    """Write ``selftest/`` below the bundle ``directory``, whose other sources and objects are there."""
    extent = extent_of(model)
    names = {"p": model.prefix, "P": model.prefix.upper(), "stream": stream, "digest": program_digest(directory)}
    sizes = {"bins": extent.bins, "ticks": extent.ticks, "reset": extent.reset_bin}
    sizes |= {"blocks": extent.blocks, "block": extent.ticks // extent.blocks}
    given = {name: str(value) for name, value in {**names, **sizes}.items()} | _parts(model, vectors)
    for source, made in (("selftest.h", "selftest.h"), ("selftest.c", "selftest.c"), ("selftest_main.c", "selftest_main.c")):
        text = files("firmware_sim").joinpath(f"compiler/templates/{source}").read_text(encoding="utf-8")
        write_text(directory / FOLDER / f"{model.prefix}_{made}", Template(text).substitute(given))


def _parts(model: Model, vectors: Vectors) -> dict[str, str]:
    regions = [("model", "")] + [(plan.stage, "") for plan in model.plans]
    regions += [(plan.stage, call.symbol) for plan in model.plans for call in plan.calls]
    rows = [f"    {{{', '.join(str(int(value)) for value in row)}}}" for row in vectors.decoded]
    upper = model.prefix.upper()
    crc = "0u" if model.frontend is None else f"UINT32_C(0x{vectors.features_crc32:08x})"
    return {
        "weights_headers": "\n".join(f'#include "{plan.prefix}_weights.h"' for plan in model.plans),
        "memory_functions": "\n".join(MEMORY_FUNCTIONS),
        "expected": ",\n".join(rows),
        "features_crc": f"#define {upper}_HAS_FEATURES {int(model.frontend is not None)}\n#define {upper}_FEATURES_CRC32 {crc}",
        "stage_regions": ", ".join(_region(plan) for plan in model.plans),
        "kernels": str(sum(len(plan.calls) for plan in model.plans)),
        "names": ",\n".join(f'    {{"{stage}", "{symbol}"}}' for stage, symbol in regions),
        "kernel_copies": "\n".join(_copies(model)),
        "steps": "\n".join(_step(model)),
    }


def _region(plan: Plan) -> str:
    return f"{plan.stage.upper()}_REGION"


def _copies(model: Model) -> list[str]:
    """The drivers once more, with a look at the counter before and after each kernel."""
    lines = [*for_c_and_cpp([line for plan in model.plans for line in prototypes(plan)]), "", *AT]
    first = 0
    for plan in model.plans:
        numbers = {id(call): first + i for i, call in enumerate(plan.calls)}

        def timed(call: Call, text: str, numbers: dict[int, int] = numbers) -> list[str]:
            return ["since = now();", text, f"took(&regions[KERNEL_REGIONS + {numbers[id(call)]}], since);"]

        lines += ["", f"static {signature(plan, f'{plan.stage}_by_kernel')} {{", "    uint32_t since;", *body(plan, timed), "}"]
        first += len(plan.calls)
    return lines


def _step(model: Model) -> list[str]:
    """A block by what the pass calls."""
    upper, decoder = model.prefix.upper(), model.decoder
    lines = [
        "static void step(int32_t pass, int16_t *output, uint32_t *crc) {",
        *(
            [f"    static int16_t features[{upper}_DECODER_FEATURES_LEN];"]
            if model.frontend
            else ["    const int16_t *const features = input;"]
        ),
        "    uint32_t since;",
        *(["    int32_t valid = 0;", "    uint32_t i;"] if model.frontend else ["    (void)crc;"]),
        "    if (pass == BY_MODEL) {",
        f"        (void){model.prefix}_step_block(&instance, &shared, input, {upper}_SELFTEST_BLOCK_TICKS, output);",
        "        return;",
        "    }",
    ]
    if model.frontend:
        given = f"(instance.frontend, &shared, input, {upper}_SELFTEST_BLOCK_TICKS, features, &valid);"
        lines += [*_called(model.frontend, given), "    if (valid == 0) {", "        return;", "    }"]
        lines += [f"    for (i = 0; i < {upper}_DECODER_FEATURES_LEN; i++) {{", "        const uint16_t bits = (uint16_t)features[i];"]
        lines += ["        *crc = with_byte(with_byte(*crc, (uint8_t)(bits & 255u)), (uint8_t)(bits >> 8));", "    }"]
    return [*lines, *_called(decoder, "(instance.decoder, &shared, features, output);"), "}"]


def _called(plan: Plan, arguments: str) -> list[str]:
    return [
        "    since = now();",
        "    if (pass == BY_STAGE) {",
        f"        {plan.entry}{arguments}",
        f"        took(&regions[{_region(plan)}], since);",
        "    } else {",
        f"        {plan.stage}_by_kernel{arguments}",
        "    }",
    ]
