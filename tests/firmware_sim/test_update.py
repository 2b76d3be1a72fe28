"""What an update of flash takes: code and constants are told apart, and what is equal is not counted."""

from firmware_sim.toolchain import zig_cc
from firmware_sim.update import change

TABLE = "const short {name}[{size}] = {{ {values} }};\n"
CODE = "int m_{name}(int x) {{ return x * {factor} + helper(x); }}\n"


def built(folder, table: int, factor: int, more: str = ""):
    """Two constants of 8 and 6 bytes, a function in the model and one among the kernels, and a main loop."""
    (folder / "tvm").mkdir(parents=True)
    flags = ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-O2", "-g0", "-ffreestanding"]
    sources = {
        "m_weights.c": TABLE.format(name="m_a", size=4, values="1, 2, 3, 4") + TABLE.format(name="m_b", size=3, values=f"{table}, 6, 7"),
        "m.c": "int helper(int);\n" + CODE.format(name="same", factor=5) + more,
        "tvm/m_k.c": "int helper(int);\n" + CODE.format(name="k", factor=factor),
        "main.c": f"int main(void) {{ return {factor}; }}\n",
    }
    for name, text in sources.items():
        (folder / name).write_text(text)
        zig_cc([*flags, "-ffunction-sections", "-fdata-sections", "-c", name, "-o", name.replace(".c", ".o")], cwd=folder)
    return folder


def test_only_what_differs_is_sent(tmp_path):
    old, tables, code = built(tmp_path / "old", 5, 3), built(tmp_path / "tables", 9, 3), built(tmp_path / "code", 5, 1000)
    same = change(old, old, "m")
    assert same.code > 0 and (same.changed_code, same.changed_constants) == (0, 0)
    found = change(old, tables, "m")
    assert (found.changed_code, found.changed_constants) == (0, 6)  # not the table of 8, which is as it was
    found = change(old, code, "m")
    assert 0 < found.changed_code < found.code and found.changed_constants == 0  # of the kernel; the main loop is not the model's


def test_a_call_of_another_function_is_a_change(tmp_path):
    more = "int other(int);\nint m_calls(int x) {{ return {name}(x); }}\n"
    old = built(tmp_path / "old", 5, 3, more.format(name="helper"))
    new = built(tmp_path / "new", 5, 3, more.format(name="other"))
    assert change(old, new, "m").changed_code > 0
