"""The tools of the ecosystems on what they read of a bundle, as far as package registries have them.

PlatformIO builds a program, with a platform of a few lines in place of one of its registry. West, kconfiglib and ESP-IDF's component
manager read their files. Zephyr and ESP-IDF themselves are in no package registry: their CMake functions are stood in for here, by what
their documentation says that they do, and the programs run in QEMU.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware_sim.ecosystems.projects import ran, shown_by_ctest

pytestmark = pytest.mark.slow
TOOLS = (
    *("platformio==6.2.0", "scons==4.11.1", "idf-component-manager==3.1.2", "west==1.5.0", "kconfiglib==14.1.0"),
    "cyclonedx-python-lib[json-validation]==11.12.0",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Of an environment with the tools."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.skip(f"the tools of the ecosystems cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin/python"


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            packages = "gcc-arm-none-eabi gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-arm qemu-system-misc"
            pytest.skip(f"{program} is not installed: apt-get install {packages}")


PLATFORM = """
from platformio.platform.base import PlatformBase


class LocalPlatform(PlatformBase):
    pass
"""
BUILDER = """
from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
gcc = "arm-none-eabi-gcc"
env.Replace(CC=gcc, CXX="arm-none-eabi-g++", LINK=gcc, AR=f"{gcc}-ar", RANLIB=f"{gcc}-ranlib", PROGSUFFIX=".elf")
script = env.subst("$PROJECT_DIR/qemu.ld")
env.Append(CCFLAGS=["-mcpu=cortex-m4", "-mthumb", "-O2"])
env.Append(LINKFLAGS=["-mcpu=cortex-m4", "-mthumb", "--specs=rdimon.specs", f"-T{script}"])
Default(env.BuildProgram())
"""


def test_platformio_packs_and_builds_the_library(python, bundle, project, printed, tmp_path):
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    sample = project("cortex-m4", "cmake")
    folder = tmp_path / "pio"
    shutil.copytree(bundle("cortex-m4"), folder / "lib/realm_lfp")
    (folder / "src").mkdir()
    for name in ("main.c", "vectors.c"):
        shutil.copyfile(sample / name, folder / "src" / name)
    shutil.copyfile(sample / "qemu.ld", folder / "qemu.ld")
    (folder / "platform/builder").mkdir(parents=True)
    about = {"name": "local", "version": "1.0.0", "title": "local", "description": "local", "packages": {}}
    (folder / "platform/platform.json").write_text(json.dumps(about))
    (folder / "platform/platform.py").write_text(PLATFORM)
    (folder / "platform/builder/main.py").write_text(BUILDER)
    (folder / "platformio.ini").write_text("[env:local]\nplatform = symlink://platform\n")
    environment = {**os.environ, "PLATFORMIO_CORE_DIR": str(tmp_path / "core"), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}
    scons(python, tmp_path / "core/packages/tool-scons")
    for command in (["pkg", "pack", "lib/realm_lfp", "-o", str(tmp_path / "realm_lfp.tar.gz")], ["run"]):
        pio = [str(python), "-m", "platformio", *command]
        done = subprocess.run(pio, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    qemu = ("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none")
    shown = ran(*qemu, "-semihosting-config", "enable=on,target=native", "-kernel", folder / ".pio/build/local/program.elf")
    assert shown.splitlines() == printed


def scons(python: Path, folder: Path) -> None:
    """PyPI's SCons where PlatformIO keeps the one of its registry."""
    ask = "import SCons, platformio.dependencies as d; print(SCons.__path__[0]); print(d.get_core_dependencies()['tool-scons'])"
    place, wanted = ran(python, "-c", ask).split()
    shutil.copytree(place, folder / "SCons")
    run = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\nimport SCons.Script\nSCons.Script.main()\n"
    (folder / "scons.py").write_text(run)
    about = {"name": "tool-scons", "version": wanted.removeprefix("~")}
    (folder / "package.json").write_text(json.dumps({**about, "description": "SCons"}))
    spec = {"owner": "platformio", "id": 8192, "name": "tool-scons", "requirements": None, "uri": None}
    (folder / ".piopm").write_text(json.dumps({**about, "type": "tool", "spec": spec}))


def test_the_component_manager_reads_the_component(python, bundle):
    read = (
        "import sys; from idf_component_tools.manager import ManifestManager\n"
        "print(*ManifestManager(sys.argv[1], 'realm_lfp').load().targets)"
    )
    assert ran(python, "-c", read, bundle("rv32imc")) == "esp32c3 esp32c6 esp32h2\n"


def test_the_bill_of_materials_is_of_cyclonedxs_schema(python, bundle, tmp_path):
    check = (
        "import sys, pathlib; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator\n"
        "print(JsonStrictValidator(SchemaVersion.V1_5).validate_str(pathlib.Path(sys.argv[1]).read_text()))"
    )
    whole = bundle("cortex-m4") / "sbom.cdx.json"
    assert ran(python, "-c", check, whole) == "None\n"
    (tmp_path / "wrong.json").write_text(whole.read_text().replace('"file"', '"leaf"'))
    assert "leaf" in ran(python, "-c", check, tmp_path / "wrong.json")


def test_west_reads_the_manifest(python, project):
    read = (
        "import sys, pathlib; from west.manifest import Manifest, ImportFlag\n"
        "m = Manifest.from_data(pathlib.Path(sys.argv[1]).read_text(), import_flags=ImportFlag.IGNORE)\n"
        "print(*(p.name for p in m.projects), m.yaml_path)"
    )
    assert ran(python, "-c", read, project("cortex-m4", "zephyr") / "west.yml") == "manifest zephyr decode\n"


@pytest.mark.parametrize(("core", "value"), [("CPU_CORTEX_M4", "y"), ("CPU_CORTEX_M7", "n")])
def test_kconfig_offers_the_module_to_its_core_alone(core, value, python, project, tmp_path):
    folder = project("cortex-m4", "zephyr")
    cores = "".join(f"config {name}\n\tdef_bool {'y' if name == core else 'n'}\n" for name in ("CPU_CORTEX_M4", "CPU_CORTEX_M7"))
    zephyrs = "config MAIN_STACK_SIZE\n\tint 'Of main'\n\tdefault 1024\n"
    (tmp_path / "Kconfig").write_text(f'{cores}\n{zephyrs}\nsource "{folder}/realm_lfp/zephyr/Kconfig"\n')
    read = (
        "import sys, kconfiglib\n"
        "k = kconfiglib.Kconfig(sys.argv[1], warn_to_stderr=False); k.load_config(sys.argv[2])\n"
        "print(k.syms['REALM_LFP'].str_value, [w for w in k.warnings if 'undefined' in w])"
    )
    assert ran(python, "-c", read, tmp_path / "Kconfig", folder / "prj.conf") == f"{value} []\n"


ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
project(stand_in C)
enable_testing()
# docs.zephyrproject.org, CMake extensions: a library of sources, folders for all, an archive that is linked as a whole
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${{name}})
  add_library(${{name}} STATIC)
  target_include_directories(${{name}} PRIVATE $<TARGET_PROPERTY:zephyr_interface,INTERFACE_INCLUDE_DIRECTORIES>)
endmacro()
macro(zephyr_library_sources)
  target_sources(${{ZEPHYR_CURRENT_LIBRARY}} PRIVATE ${{ARGN}})
endmacro()
macro(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${{ARGN}})
endmacro()
macro(zephyr_library_import name archive)
  add_library(${{name}} STATIC IMPORTED GLOBAL)
  set_target_properties(${{name}} PROPERTIES IMPORTED_LOCATION ${{archive}})
endmacro()
add_library(zephyr_interface INTERFACE)
set(CONFIG_REALM_LFP y)
add_subdirectory("{module}" module)
add_executable(decode "{app}/src/main.c" vectors.c)
target_link_options(decode PRIVATE --specs=rdimon.specs "-T${{CMAKE_CURRENT_SOURCE_DIR}}/qemu.ld")
target_link_libraries(decode PRIVATE zephyr_interface -Wl,--whole-archive realm_lfp realm_lfp_kernels -Wl,--no-whole-archive)
add_test(NAME decode COMMAND decode)
"""


def test_zephyrs_module_makes_a_program(project, printed, tmp_path):
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    app = project("cortex-m4", "zephyr").rename(tmp_path / "app")
    sample = project("cortex-m4", "cmake")
    (sample / "CMakeLists.txt").write_text(ZEPHYR.format(module=app / "realm_lfp/zephyr", app=app))
    shutil.rmtree(sample / "realm_lfp")
    assert shown_by_ctest(sample, "arm-none-eabi.cmake") == printed


ESP_IDF = """
cmake_minimum_required(VERSION 3.16)
project(stand_in C)
enable_testing()
# docs.espressif.com, Build System: a library of the sources; an archive is a target
macro(idf_component_register)
  cmake_parse_arguments(_ "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${{ARGN}})
  get_filename_component(COMPONENT_LIB ${{CMAKE_CURRENT_SOURCE_DIR}} NAME)
  add_library(${{COMPONENT_LIB}} STATIC ${{__SRCS}})
  target_include_directories(${{COMPONENT_LIB}} PUBLIC ${{__INCLUDE_DIRS}})
  target_link_libraries(${{COMPONENT_LIB}} PUBLIC ${{__REQUIRES}})
endmacro()
macro(add_prebuilt_library name archive)
  add_library(${{name}} STATIC IMPORTED GLOBAL)
  set_target_properties(${{name}} PROPERTIES IMPORTED_LOCATION ${{archive}})
endmacro()
set(ESP_PLATFORM 1)
add_subdirectory("{app}/components/realm_lfp" realm_lfp)
add_subdirectory("{app}/main" main)
add_executable(decode start.c)
{link}
target_link_libraries(decode PRIVATE main)
add_test(NAME decode COMMAND decode)
"""


def test_esp_idfs_component_makes_a_program(project, printed, tmp_path):
    needs("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
    app = project("rv32imc", "esp-idf").rename(tmp_path / "app")
    sample = project("rv32imc", "cmake")
    text = (sample / "CMakeLists.txt").read_text()
    link = text[text.index("target_link_options") : text.index("target_link_libraries")]
    (sample / "CMakeLists.txt").write_text(ESP_IDF.format(app=app, link=link))
    (sample / "start.c").write_text("void app_main(void);\nint main(void) { app_main(); return 0; }\n")
    shutil.rmtree(sample / "realm_lfp")
    assert shown_by_ctest(sample, "riscv64-unknown-elf.cmake") == printed
