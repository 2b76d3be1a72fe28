"""One module per operator of the integer step graphs, by the names of :mod:`quantization.operators`, which defines what they compute.

A module has one function a family of instruction sets: it makes a TIR function of a checked node, specialised by shapes, constants and
proven bounds. ``scalar`` is plain integer code, which every core runs.
"""

from collections.abc import Callable
from importlib import import_module

from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.operators import MODULES

BUILDERS: dict[str, Callable[[Node], Kernel]] = {name: import_module(f"{__name__}.{module}").scalar for name, module in MODULES.items()}
