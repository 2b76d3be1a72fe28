"""What Zephyr, PlatformIO, Arduino and ESP-IDF read of a bundle, held against their specifications; and what projects are refused.

Their own tools are in test_tools.py.
"""

import json
import re
import sys
from importlib.metadata import version

import pytest
import yaml
from click.testing import CliRunner

from firmware_sim.builds import builds, linux_builds
from firmware_sim.bundle import check_manifest
from firmware_sim.ecosystems.facts import facts_of
from firmware_sim.ecosystems.project import ECOSYSTEMS, write_project
from realm_edge.app import cli_package
from realm_edge.app.cli import main
from realm_edge.errors import UserError
from tests.firmware_sim.ecosystems.projects import ran

VERSION = version("realm-edge")


def test_every_core_has_a_name_in_every_ecosystem():
    for build in builds():
        facts = facts_of(build)
        assert bool(facts.zephyr) == bool(facts.arduino) == bool(facts.gcc) == (build not in linux_builds())
    assert tuple(ECOSYSTEMS) == cli_package.ECOSYSTEMS


def test_a_bundle_is_a_module_of_zephyr(small):
    folder = small("cortex-m4")
    module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    # Of scripts/zephyr_module.py, METADATA_SCHEMA: "cmake" is a folder with a CMakeLists.txt, "kconfig" a file.
    assert module == {"name": "realm_lfp", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    assert (folder / "zephyr/CMakeLists.txt").is_file()
    about = json.loads((folder / "metadata.json").read_text())
    kconfig = (folder / "zephyr/Kconfig").read_text()
    for words in ("config REALM_LFP\n\tbool ", "\tdepends on CPU_CORTEX_M4\n", f"up to {about['memory']['stack']['bytes']} bytes\n"):
        assert words in kconfig
    assert "Helium" not in kconfig


def test_the_sample_of_zephyr_grants_the_stack_that_the_header_asks_for(small_project):
    folder = small_project("cortex-m4", "zephyr")
    about = json.loads((folder / "realm_lfp/metadata.json").read_text())
    options = dict(line.split("=") for line in (folder / "prj.conf").read_text().splitlines())
    assert options.keys() == {"CONFIG_REALM_LFP", "CONFIG_MAIN_STACK_SIZE"} and options["CONFIG_REALM_LFP"] == "y"
    assert 2048 <= int(options["CONFIG_MAIN_STACK_SIZE"]) - about["memory"]["stack"]["bytes"] < 2048 + 1024


def test_a_bundle_is_a_library_of_platformio_and_the_sample_has_a_board(small_project):
    folder = small_project("cortex-m4", "platformio")
    check_manifest(folder / "lib/realm_lfp")
    about = json.loads((folder / "lib/realm_lfp/library.json").read_text())
    assert about["name"] == "realm_lfp" and about["version"] == VERSION
    assert about["build"] == {"flags": ["-Llib", "-lrealm_lfp"]}
    assert "board = adafruit_feather_nrf52840\n" in (folder / "platformio.ini").read_text()


def test_arduinos_library_is_as_its_specification_says(small_project):
    """arduino.github.io/arduino-cli/latest/library-specification."""
    folder = small_project("cortex-m4", "arduino")
    fields = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    assert fields.keys() >= {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert re.fullmatch(r"[A-Za-z0-9][\w. -]{0,62}", fields["name"]) and fields["version"] == VERSION
    assert fields["category"] in ("Signal Input/Output", "Data Processing", "Other") and fields["precompiled"] == "true"
    library, core = fields["ldflags"].removeprefix("-l"), "cortex-m4"
    assert (folder / "src" / core / f"lib{library}.a").is_file() and (folder / "src" / fields["includes"]).is_file()
    included = {name for path in (folder / "src").glob("*.[ch]") for name in re.findall(r'#include "(.*)"', path.read_text())}
    assert included and all((folder / "src" / name).is_file() for name in included)
    assert [path.parent.name for path in folder.rglob("*.ino")] == [path.stem for path in folder.rglob("*.ino")] == ["decode"]


ARDUINO = """
#include <stdint.h>
struct Port { void begin(long); template <class T> void print(T); template <class T> void println(T); void println(); };
template <class T> void Port::print(T) {}
template <class T> void Port::println(T) {}
extern Port Serial;
"""


def test_arduinos_sketch_compiles_and_links_with_the_precompiled_kernels(small_project):
    """With what the sketch uses of Arduino.h; the core of a board and its builder are not among the package registries."""
    folder = small_project("cortex-m4", "arduino")
    (folder / "Arduino.h").write_text(ARDUINO)
    rest = "#include <Arduino.h>\nPort Serial;\nvoid Port::begin(long) {}\nvoid Port::println() {}\nvoid setup(); void loop();\n"
    (folder / "core.cpp").write_text(f'{rest}extern "C" void _start() {{ setup(); loop(); }}\n')
    zig, machine = (
        (sys.executable, "-m", "ziglang"),
        ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-O2", "-I.", "-Isrc"),
    )
    cpp = ("-x", "c++", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror")
    ran(*zig, "c++", *machine, *cpp, "-c", "examples/decode/decode.ino", "-o", "sketch.o", cwd=folder)
    ran(*zig, "c++", *machine, *cpp, "-c", "core.cpp", "-o", "core.o", cwd=folder)
    sources = sorted((folder / "src").glob("*.c"))
    linked = ("-nostartfiles", "-Lsrc/cortex-m4", "-lrealm_lfp", "-o", "sketch.elf")
    ran(*zig, "cc", *machine, "sketch.o", "core.o", *sources, *linked, cwd=folder)


def test_a_bundle_is_a_component_of_esp_idf(small_project):
    folder = small_project("rv32imc", "esp-idf")
    about = yaml.safe_load((folder / "components/realm_lfp/idf_component.yml").read_text())
    assert about["version"] == VERSION and about["targets"] == ["esp32c3", "esp32c6", "esp32h2"]
    assert 'idf_component_register(SRCS "main.c" REQUIRES realm_lfp)' in (folder / "main/CMakeLists.txt").read_text()
    assert "void app_main(void)" in (folder / "main/main.c").read_text()


def test_the_bill_of_materials_names_every_file_graph_and_tool(small):
    folder = small("cortex-m4")
    bill, about = (json.loads((folder / name).read_text()) for name in ("sbom.cdx.json", "metadata.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    named = {each["name"]: each["hashes"][0]["content"] for each in bill["components"]}
    listed = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    del listed["sbom.cdx.json"]
    assert named == listed | {"decoder (int8 step graph)": about["made_from"]["decoder"]}
    tools = {each["name"]: each["version"] for each in bill["metadata"]["tools"]["components"]}
    assert tools == about["made_by"] and {"realm-edge", "apache-tvm", "ziglang"} <= tools.keys()


@pytest.mark.parametrize(
    ("build", "ecosystem", "words"),
    [
        ("x86_64-linux", "zephyr", "compiled for 'x86_64-linux', for which there is no module of Zephyr"),
        ("cortex-m4", "esp-idf", "compiled for 'cortex-m4', for which there is no component of ESP-IDF"),
    ],
)
def test_a_core_that_an_ecosystem_has_nothing_for_is_refused(build, ecosystem, words, small, tmp_path):
    with pytest.raises(UserError, match=words):
        write_project(small(build), ecosystem, tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_kept(small, tmp_path):
    (tmp_path / "mine").write_text("for years")
    with pytest.raises(UserError, match="is there, and would be replaced: name a new folder"):
        write_project(small("cortex-m4"), "cmake", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["for years"]


def test_a_bundle_is_not_copied_into_itself(small):
    with pytest.raises(UserError, match="lies within the bundle"):
        write_project(small("cortex-m4"), "cmake", small("cortex-m4") / "lib" / "decode")
    check_manifest(small("cortex-m4"))


def test_the_command_writes_the_project_and_says_what_comes_next(small, tmp_path):
    out, source = tmp_path / "a b", small("cortex-m4") / "src/realm_lfp.c"
    done = CliRunner().invoke(main, ["package", str(small("cortex-m4")), "--for", "zephyr", "--out", str(out)])
    assert done.exit_code == 0 and done.output == f"wrote {out}\nnext: west build -b mps2/an386 '{out}' -t run\n"
    check_manifest(out / "realm_lfp")
    whole = source.read_bytes()
    source.write_bytes(whole + b"\n")
    try:
        done = CliRunner().invoke(main, ["package", str(small("cortex-m4")), "--for", "cmake", "--out", str(tmp_path / "other")])
    finally:
        source.write_bytes(whole)
    assert done.exit_code == 2 and "src/realm_lfp.c: changed since it was compiled" in done.output
    assert not (tmp_path / "other").exists()
