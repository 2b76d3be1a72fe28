"""The default recordings: synthetic reaching, spikes and LFP of one array over several sessions.

Kinematics -> latent -> spikes and LFP. The velocity of minimum-jerk reaches, 100 ms ahead, and slow latents that have nothing to do with
the movement drive everything else. ``synthetic.version`` chooses between two generators; ``docs/generator.md`` holds both against the
literature. What is measured on these recordings says nothing about brains.
"""

from realm_edge.broadband import FIELD_HZ, Broadband
from realm_edge.recording import Recording
from realm_edge.settings import Settings
from realm_edge.synthetic import version1, version2
from realm_edge.synthetic.reaches import STEP_HZ

_VERSIONS = {1: version1.generate, 2: version2.generate}
LFP_HZ = {1: STEP_HZ, 2: FIELD_HZ}  # by version


def generate(settings: Settings, session: int) -> tuple[Recording, Broadband]:
    """Make one session; the same settings and number give the same session, whatever was made before.

    Args:
        settings: ``seed``, ``synthetic`` and ``spike.rate_hz`` count.
        session: 0 to ``settings.synthetic.sessions - 1``; the last is the held-out one and has its own length.

    Returns:
        The recording (velocity in cm/s at 100 Hz, LFP at 4 kHz, or 1 kHz of version 1, with one dead channel, sorted spike times) and
        what :func:`realm_edge.broadband.second` needs.

    Raises:
        UserError: the session would not fit the memory that is free.
    """
    return _VERSIONS[settings.synthetic.version](settings, session)
