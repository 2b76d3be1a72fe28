"""What torchrun tells the processes that it starts, in environment variables; without torch, which takes seconds to import."""

import os


def processes() -> int:
    """All that train together, on all machines; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def processes_here() -> int:
    """Those on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if processes() > 1 else 1


def leads() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return processes() == 1 or os.environ["RANK"] == "0"
