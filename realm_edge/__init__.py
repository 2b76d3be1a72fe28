"""Recordings, causal features, models, training and evaluation; and, for notebooks, the whole chain in six functions.

:func:`load`, :func:`train`, :func:`quantize`, :func:`compile`, :func:`simulate` and :func:`report` are those of :mod:`realm_edge.app.api`.
They are imported when they are asked for, so that ``import realm_edge`` is fast and pulls in nothing that lies above this package.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm_edge.app.api import compile, load, quantize, report, simulate, train

from realm_edge import environment

__version__ = "0.1.0"
__all__ = ["__version__", "compile", "load", "quantize", "report", "simulate", "train"]

environment.settle()  # whichever module is imported first, this one is before it


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from realm_edge.app import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
