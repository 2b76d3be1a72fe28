"""The simulator as a profiler of any bare-metal program: ``realm-edge cycles`` (docs/cycles-elf.md)."""
