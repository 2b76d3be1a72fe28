"""The terms of an implant's power: sensing, core, radio and supply, each a function of workload, choices and figures (docs/power.md)."""
