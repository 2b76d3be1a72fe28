"""The command ``package``: a project of a build system around a bundle."""

from pathlib import Path

import click

from realm_edge.app.cli_options import PATH
from realm_edge.printable import printable

ECOSYSTEMS = ("cmake", "zephyr", "platformio", "arduino", "esp-idf")


@click.command(epilog="Example: realm-edge package runs/demo/firmware/cortex-m4/lfp --for zephyr --out decode")
@click.argument("bundle", type=PATH)
@click.option("--for", "ecosystem", type=click.Choice(ECOSYSTEMS), required=True, help="Build system of the project.")
@click.option("--out", type=PATH, required=True, help="Folder of the project, which is not there yet.")
def package(bundle: Path, ecosystem: str, out: Path) -> None:
    """Write a project around a bundle: a copy of it in its place, and a sample that decodes made-up samples.

    The bundle's folder itself is a package of CMake, a module of Zephyr, a library of PlatformIO and a component of ESP-IDF; Arduino's
    library has other folders.
    """
    from firmware_sim.ecosystems.project import write_project

    for line in (f"wrote {out}", *(f"next: {command}" for command in write_project(bundle, ecosystem, out))):
        click.echo(printable(line))
