"""The whole model in C, front end and decoder under one state: what a program calls that wants decoded values of samples."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from firmware_sim.bundle_metadata import FORMAT
from firmware_sim.compiler.c_text import doxygen, for_c_and_cpp, guarded, rate_literal, string_literal
from firmware_sim.compiler.memory import ALIGNMENT
from firmware_sim.compiler.plan import Plan
from realm_edge.versions import PACKAGE, versions_of

CHECKSUM: Literal["CRC-32/ISO-HDLC"] = (
    "CRC-32/ISO-HDLC"  # of zlib, PNG and Ethernet; by its name in the catalogue of parametrised CRC algorithms
)
LIBRARY_STACK = 64  # bytes that are set aside for memcpy, memset and helpers of the C compiler, which a program brings along
_COUNTER_BYTES, _FEATURE_BYTES = 4, 2
_POLYNOMIAL = 0xEDB88320  # of it, reflected


@dataclass(frozen=True)
class Model:
    """Plans of a bundle, and what the C of the whole model is written from; ``frontend`` is None where features come in by the board."""

    prefix: str
    build: str
    frontend: Plan | None
    decoder: Plan

    @property
    def plans(self) -> tuple[Plan, ...]:
        return (self.frontend, self.decoder) if self.frontend else (self.decoder,)

    @property
    def first(self) -> Plan:
        """Of what takes the input."""
        return self.plans[0]

    @property
    def bin_ticks(self) -> int:
        return self.frontend.bins.ticks if self.frontend and self.frontend.bins else 1

    @property
    def warm_up_bins(self) -> int:
        return self.decoder.graph.warm_up_bins or 0

    @property
    def state_bytes(self) -> int:
        """Of ``<prefix>_state``, as a C compiler lays it out: bins since reset, features where there is a front end, and the blocks."""
        features = self.decoder.graph.inputs[0].shape[0] * _FEATURE_BYTES if self.frontend else 0
        return _aligned(_COUNTER_BYTES + features) + sum(_words(plan.state_bytes) * ALIGNMENT for plan in self.plans)

    @property
    def scratch_bytes(self) -> int:
        """Front end and decoder run one after the other."""
        return ALIGNMENT * max(_words(plan.scratch_bytes) for plan in self.plans)

    @property
    def weight_bytes(self) -> int:
        return sum(plan.weight_bytes for plan in self.plans)

    @property
    def weights_crc32(self) -> int:
        """Of every constant as it lies in flash, front end first."""
        found = 0
        for constant in (constant for plan in self.plans for constant in plan.constants):
            array = np.ascontiguousarray(constant.array)
            found = zlib.crc32(array.astype(array.dtype.newbyteorder("<")).tobytes(), found)
        return found


def model_header(model: Model, stack_bytes: int) -> str:
    """``include/<prefix>.h``; ``stack_bytes`` is an upper bound."""
    prefix, upper, first = model.prefix, model.prefix.upper(), model.first
    inputs = f"{first.prefix.upper()}_{'SAMPLE' if model.frontend else 'FEATURES'}"
    what = "sample of all channels" if model.frontend else "bin of features"
    values = [
        ("What made this bundle.", "VERSION", string_literal(versions_of().get(PACKAGE, ""))),
        ("Version of the fields of metadata.json.", "SCHEMA", string_literal(FORMAT)),
        ("Instruction set that the kernels were compiled for.", "BUILD", string_literal(model.build)),
        (f"Ticks a second. A tick is a {what}.", "RATE_HZ", rate_literal(first.graph.rate_hz)),
        ("Bins a second.", "BIN_RATE_HZ", rate_literal(model.decoder.graph.rate_hz)),
        ("Ticks of a bin.", "BIN_TICKS", f"{model.bin_ticks}"),
        ("int16 of a tick.", "INPUT_LEN", f"{inputs}_LEN"),
        ("int16 of an output.", "OUTPUT_LEN", f"{model.decoder.prefix.upper()}_OUTPUT_LEN"),
        ("Bins after a reset whose output is not settled.", "WARM_UP_BINS", f"{model.warm_up_bins}"),
        ("Alignment of state and scratch, in bytes.", "ALIGNMENT", f"{ALIGNMENT}"),
        (f"Bytes of {prefix}_state.", "STATE_BYTES", f"{model.state_bytes}"),
        (f"Bytes of {prefix}_scratch.", "SCRATCH_BYTES", f"{model.scratch_bytes}"),
        (
            "Bytes of stack that a call takes at most, interrupts aside: frames of the kernels, of the drivers as zig cc -O2 makes them, "
            f"and {LIBRARY_STACK} for memcpy, memset and the compiler's helpers.",
            "STACK_BYTES",
            f"{stack_bytes}",
        ),
        ("Bytes of weights and tables in flash.", "WEIGHT_BYTES", f"{model.weight_bytes}"),
        (f"{CHECKSUM} of them.", "WEIGHTS_CRC32", f"UINT32_C(0x{model.weights_crc32:08x})"),
        ("No bin ended: there is no output.", "NO_OUTPUT", "0"),
        ("An output, within the warm-up after a reset.", "WARMING_UP", "1"),
        ("An output that is settled.", "VALID", "2"),
    ]
    defines = [line for meaning, name, value in values for line in (*doxygen(meaning), f"#define {upper}_{name} {value}")]
    members = ["    int32_t settled_bins; /**< Since the reset, up to the warm-up. */"]
    members += (
        [f"    int16_t features[{model.decoder.prefix.upper()}_FEATURES_LEN]; /**< Of the bin that ended. */"] if model.frontend else []
    )
    members += [f"    int64_t {plan.stage}[{_words(plan.state_bytes)}]; /**< Its state block. */" for plan in model.plans]
    return "\n".join(
        [
            *doxygen(
                f"@file {prefix}.h",
                f"@brief From {'samples' if model.frontend else 'features'} to decoded values. Generated by realm-edge; do not edit.",
                "",
                "State and scratch belong to the caller: there is no heap, and no static data that is written. Two states are two",
                "independent instances; scratch may be shared by all that never run at one time.",
                "",
                f"Stages can be called by themselves: {', '.join(f'{plan.prefix}.h' for plan in model.plans)}.",
                f"Units are told there, too: {model.decoder.prefix}_output_to_units makes a value of what was decoded.",
            ),
            *guarded(
                f"{upper}_H",
                [
                    *(f'#include "{plan.prefix}.h"' for plan in model.plans),
                    "",
                    "#include <stdint.h>",
                    "",
                    *defines,
                    "",
                    *doxygen("What is kept from call to call; opaque."),
                    "typedef struct {",
                    *members,
                    f"}} {prefix}_state;",
                    "",
                    *doxygen("Memory of a call; what it holds between calls does not matter."),
                    "typedef struct {",
                    f"    int64_t words[{model.scratch_bytes // ALIGNMENT}]; /**< Of the stage that runs. */",
                    f"}} {prefix}_scratch;",
                    "",
                    *for_c_and_cpp(_functions(model)),
                ],
            ),
            "",
        ]
    )


def _step_block(prefix: str) -> str:
    blocks = f"{prefix}_state *state, {prefix}_scratch *scratch"
    return f"int32_t {prefix}_step_block({blocks}, const int16_t *input, int32_t count, int16_t *output)"


def _functions(model: Model) -> list[str]:
    prefix, upper = model.prefix, model.prefix.upper()
    state, scratch = f"{prefix}_state *state", f"{prefix}_scratch *scratch"
    blocks = ["@param[in,out] state that was initialised.", "@param scratch anything."]
    return [
        *doxygen("@brief Puts a state to its initial value, before the first step.", "@param[out] state of the caller."),
        f"void {prefix}_init({state});",
        "",
        *doxygen(
            "@brief Starts anew after a pause of the recording: it was stopped, or samples with an artefact were left out.",
            "",
            "A bin that is not complete is dropped: the next tick is the first of a bin.",
            "@param[out] state becomes what init makes of it.",
        ),
        f"static inline void {prefix}_reset({state}) {{",
        f"    {prefix}_init(state);",
        "}",
        "",
        *doxygen(
            "@brief Takes a block of ticks, and decodes when a bin ends.",
            "",
            f"Blocks have 1 to {upper}_BIN_TICKS ticks and need not end where a bin ends. Longer ones are taken, too; of their outputs",
            "the last stays.",
            *blocks,
            f"@param[in] input input[t * {upper}_INPUT_LEN + i].",
            "@param count ticks of this block; of 0 or less nothing is done.",
            f"@param[out] output {upper}_OUTPUT_LEN values, written where a bin ended.",
            f"@return {upper}_NO_OUTPUT, {upper}_WARMING_UP or {upper}_VALID.",
        ),
        f"{_step_block(prefix)};",
        "",
        *doxygen(
            "@brief Takes one tick.",
            *blocks,
            f"@param[in] input {upper}_INPUT_LEN values.",
            f"@param[out] output {upper}_OUTPUT_LEN values, written where a bin ended.",
            f"@return as {prefix}_step_block.",
        ),
        f"static inline int32_t {prefix}_step({state}, {scratch}, const int16_t *input, int16_t *output) {{",
        f"    return {prefix}_step_block(state, scratch, input, 1, output);",
        "}",
        "",
        *doxygen(
            f"@brief {CHECKSUM} of all weights and tables as they lie in flash now.", f"@return {upper}_WEIGHTS_CRC32 where they are whole."
        ),
        f"uint32_t {prefix}_weights_crc32(void);",
    ]


def model_source(model: Model) -> str:
    """``src/<prefix>.c``."""
    prefix, upper = model.prefix, model.prefix.upper()
    constants = [constant.symbol for plan in model.plans for constant in plan.constants]
    nibbles = [f"UINT32_C(0x{_crc_of_nibble(value):08x})" for value in range(16)]
    return "\n".join(
        [
            f"/* The stages of {prefix} under one state, and a checksum of its weights. Generated by realm-edge; do not edit. */",
            f'#include "{prefix}.h"',
            *(f'#include "{plan.prefix}_weights.h"' for plan in model.plans),
            "",
            "#include <stddef.h>",
            "",
            "/* The compiler lays the state out as its size says. */",
            f"typedef char {prefix}_state_has_its_size[(sizeof({prefix}_state) == {upper}_STATE_BYTES) ? 1 : -1];",
            "",
            f"void {prefix}_init({prefix}_state *state) {{",
            "    state->settled_bins = 0;",
            *(f"    {plan.prefix}_init(state->{plan.stage});" for plan in model.plans),
            "}",
            "",
            f"{_step_block(prefix)} {{",
            f"    int32_t found = {upper}_NO_OUTPUT;",
            "    while (count > 0) {",
            *_chunk(model),
            "    }",
            "    return found;",
            "}",
            "",
            f"static uint32_t {prefix}_crc32(uint32_t crc, const void *data, size_t bytes) {{",
            "    static const uint32_t of_nibble[16] = {",
            *(f"        {', '.join(nibbles[i : i + 4])}," for i in range(0, 16, 4)),
            "    };",
            "    const uint8_t *const byte = (const uint8_t *)data;",
            "    size_t i;",
            "    for (i = 0; i < bytes; i++) {",
            "        crc ^= byte[i];",
            "        crc = (crc >> 4) ^ of_nibble[crc & 15u];",
            "        crc = (crc >> 4) ^ of_nibble[crc & 15u];",
            "    }",
            "    return crc;",
            "}",
            "",
            f"uint32_t {prefix}_weights_crc32(void) {{",
            "    uint32_t crc = UINT32_MAX;",
            *(f"    crc = {prefix}_crc32(crc, {symbol}, sizeof {symbol});" for symbol in constants),
            "    return ~crc;",
            "}",
            "",
        ]
    )


def _chunk(model: Model) -> list[str]:
    upper, decoder = model.prefix.upper(), model.decoder.entry
    settle = [
        f"if (state->settled_bins < {upper}_WARM_UP_BINS) {{",
        "    state->settled_bins++;",
        f"    found = {upper}_WARMING_UP;",
        "} else {",
        f"    found = {upper}_VALID;",
        "}",
    ]
    if model.frontend is None:
        settle = [f"{decoder}(state->decoder, scratch, input, output);", *settle, f"input += {upper}_INPUT_LEN;", "count--;"]
        return [f"        {line}" for line in settle]
    lines = [
        f"const int32_t chunk = (count < {upper}_BIN_TICKS) ? count : {upper}_BIN_TICKS;",
        "int32_t ended = 0;",
        f"{model.frontend.entry}(state->frontend, scratch, input, chunk, state->features, &ended);",
        "if (ended != 0) {",
        f"    {decoder}(state->decoder, scratch, state->features, output);",
        *(f"    {line}" for line in settle),
        "}",
        f"input += chunk * {upper}_INPUT_LEN;",
        "count -= chunk;",
    ]
    return [f"        {line}" for line in lines]


def _crc_of_nibble(value: int) -> int:
    for _ in range(4):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


def _words(nbytes: int) -> int:
    """At least one: C has no empty arrays."""
    return max(1, -(-nbytes // ALIGNMENT))


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
