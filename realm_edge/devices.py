"""Where training may run, and in which precision; without torch, which takes seconds to import."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]  # auto: the GPU where there is one
Precision = Literal["32", "bf16-mixed", "16-mixed"]  # of matrix products; the mixed ones keep weights in float32
