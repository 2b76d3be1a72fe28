"""What this machine has of what the product needs, and how to get the rest."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

PYTHON = (3, 11)

# Package on PyPI -> what it is for.
REQUIRED_PACKAGES = {
    "torch": "training",
    "onnxruntime": "reference execution of the step graphs",
    "apache-tvm": "kernels",
    "ziglang": "C compiler and linker for the firmware",
}
PIP_REMEDY = "pip install -c constraints.txt {}, or ./start run, which installs all"


@dataclass(frozen=True)
class Item:
    """One thing that is needed or useful."""

    name: str
    purpose: str
    required: bool
    found: bool
    version: str  # empty when it is missing
    remedy: str  # empty when nothing is to be done

    def line(self) -> str:
        """One line of the table."""
        mark = "ok" if self.found else "MISSING" if self.required else "absent"
        detail = self.purpose if self.found else f"{self.purpose}; to get it: {self.remedy}"
        return f"{mark:<8} {self.name:<22} {self.version:<16} {detail}"


def examine(machines: Sequence[Item]) -> list[Item]:
    """Look at everything but the emulators: ``machines`` are what was found out about them."""
    packages = [_package(name, purpose, required=True) for name, purpose in REQUIRED_PACKAGES.items()]
    useful = [_gpu(), _package("mamba-ssm", "its kernels scan on a GPU", required=False), _verilator()]
    return [_python(), *packages, *machines, *useful]


def _python() -> Item:
    wanted = ".".join(map(str, PYTHON))
    found = sys.version_info[:2] >= PYTHON
    return Item("python", f"{wanted} or newer", True, found, platform.python_version(), "" if found else f"install Python {wanted}")


def _package(name: str, purpose: str, *, required: bool) -> Item:
    remedy = PIP_REMEDY.format(name) if required else "pip install 'realm-edge[mamba]' in an environment of its own (see pyproject.toml)"
    try:
        return Item(name, purpose, required, True, version(name), "")
    except PackageNotFoundError:
        return Item(name, purpose, required, False, "", remedy)


def _verilator() -> Item:
    purpose, remedy = "realm-edge validate: cycle tables against RTL", "apt-get install verilator g++ make (Debian 12 has 5.006)"
    path = shutil.which("verilator")
    if path is None:
        return Item("verilator", purpose, False, False, "", remedy)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout.split()
    return Item("verilator", purpose, False, True, shown[1] if len(shown) > 1 else "unknown", "")


def _gpu() -> Item:
    purpose, remedy = "faster training", "a CUDA build of torch and a GPU; training works without"
    if find_spec("torch") is None:
        return Item("GPU", purpose, False, False, "", remedy)
    import torch  # takes a second, and only this needs it

    if not torch.cuda.is_available():
        return Item("GPU", purpose, False, False, "", remedy)
    return Item("GPU", purpose, False, True, torch.cuda.get_device_name(), "")
