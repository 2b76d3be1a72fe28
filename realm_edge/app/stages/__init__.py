"""One module per stage: it reads what the stages before left in the run directory, calls the packages, and records what it wrote.

Each has ``run(run, progress, *arguments) -> summary``.
"""

from collections.abc import Callable
from typing import Any

Stage = Callable[..., Any]  # gives a summary of the form that :data:`realm_edge.app.summaries.SUMMARIES` names


def stage_of(verb: str) -> Stage:
    """The function that performs a stage, imported when it is asked for: ``--help`` is fast, and no stage pays for another's libraries."""
    match verb:
        case "data":
            from realm_edge.app.stages import data

            return data.run
        case "train":
            from realm_edge.app.stages import train

            return train.run
        case "export":
            from realm_edge.app.stages import export

            return export.run
        case "quantize":
            from realm_edge.app.stages import quantize

            return quantize.run
        case "compile":
            from realm_edge.app.stages import compile as compile_

            return compile_.run
        case "simulate":
            from realm_edge.app.stages import simulate

            return simulate.run
        case "report":
            from realm_edge.app.stages import report

            return report.run
        case "baselines":
            from realm_edge.app.stages import baselines

            return baselines.run
        case "verify":
            from realm_edge.app.stages import verify

            return verify.run
        case "verdict":
            from realm_edge.app.stages import verdict

            return verdict.run
        case _:
            raise ValueError(f"no such stage: {verb}")
