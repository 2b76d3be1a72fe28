"""Takes a self-test's log from a serial port, by pyserial (the extra ``boards``)."""

import time

from firmware_sim.board.log import MOST_BYTES
from realm_edge.errors import UserError

_POLL_S = 0.2


def record(port: str, baud: int, seconds: float) -> bytes:
    """What comes in up to the end of a log that was seen from its beginning.

    Args:
        seconds: after which to give up.

    Raises:
        UserError: pyserial is missing, the port cannot be opened or was lost, or no whole log came in time.
    """
    try:
        import serial
    except ImportError as error:
        raise UserError(
            "--port: pyserial is not installed: pip install 'realm-edge[boards]', or keep what the board writes in a file"
        ) from error
    came, end = bytearray(), time.monotonic() + seconds
    try:
        with serial.Serial(port, baud, timeout=_POLL_S) as line:
            while time.monotonic() < end and len(came) < MOST_BYTES:
                came += line.read(4096)
                if _whole(came):
                    return bytes(came)
    except (serial.SerialException, ValueError, OSError) as error:
        raise UserError(f"--port {port}: {error}: name the board's serial port, and see that no other program holds it") from error
    what = f"{len(came)} bytes, but no whole log" if came else "nothing"
    raise UserError(f"--port {port}: {what} within {seconds:g} s: reset the board after the command has begun, or see --baud ({baud})")


def _whole(came: bytearray) -> bool:
    begin = came.rfind(b"@realm 0 log")
    if begin < 0:
        return False
    at = came.find(b" end lines=", begin)
    return at >= 0 and came.find(b"\n", at) >= 0
