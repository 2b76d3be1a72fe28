"""What a decoder is trained on: one input of the decoded session and of the sessions that may pretrain for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.session import Session
from realm_edge.summaries import Pretraining
from realm_edge.training.segments import Behaviour, Series, behaviour_of, has_labels, standardise

ONE_RECORDING = "no other session: pretrained on the training part of the decoded one"

Kind = Literal["features", "counts"]


@dataclass(frozen=True)
class Material:
    """One input (LFP features or spike counts) of the session that is decoded and of those that pretrain."""

    inputs: NDArray[np.float32]  # (bins, n_inputs) of the decoded session, as its front end gives them
    decoded: Series
    pretraining: tuple[Series, ...]  # any numbers of channels; empty: there is no other session with the same behaviour axes
    left_out: tuple[str, ...]  # names of the sessions with other axes, or without this input

    @property
    def same_array(self) -> tuple[Series, ...]:
        """The pretraining sessions with as many inputs as the decoded one."""
        return tuple(one for one in self.pretraining if one.inputs.shape[1] == self.inputs.shape[1])

    def summary(self) -> Pretraining:
        note = None if self.pretraining else ONE_RECORDING
        return Pretraining(sessions=tuple(one.name for one in self.pretraining), left_out=self.left_out, note=note)


def gather(
    sessions: Sequence[Session], decoded: Session, kind: Kind, bin_s: float, whole_session: bool = False, unlabelled: bool = False
) -> Material:
    """Standardise the decoded session and the others; those without this input or with other behaviour axes are left out.

    Args:
        sessions: any, with or without ``decoded`` itself.
        bin_s, whole_session: as :func:`realm_edge.training.segments.standardise` takes them.
        unlabelled: sessions, also ``decoded``, may be without labels: their behaviour counts as spread as in those with.

    Raises:
        UserError: the decoded session has no such input, or its behaviour cannot be learnt.
    """
    inputs = getattr(decoded, kind)
    if inputs is None:
        missing = "LFP to decode: use a recording with an LFP series" if kind == "features" else "spikes to decode"
        raise UserError(f"{decoded.name}: no {missing}")
    kinds = inputs.shape[1] // len(decoded.good_channels) if kind == "features" else 1  # each spike input is a channel of its own
    alike = [session for session in sessions if session.target_names == decoded.target_names]
    borrowed = _mean_behaviour([one for one in (*alike, decoded) if has_labels(one)]) if unlabelled else None
    pretraining, left_out = [], []
    for session in sessions:
        own = getattr(session, kind)
        if session is decoded:
            continue
        if own is not None and own.shape[1] % kinds == 0 and session.target_names == decoded.target_names:
            pretraining.append(standardise(session, own, bin_s, kinds, whole_session, borrowed))
        else:
            left_out.append(session.name)
    own = standardise(decoded, inputs, bin_s, kinds, whole_session, borrowed)
    return Material(inputs, own, tuple(pretraining), tuple(left_out))


def _mean_behaviour(sessions: Sequence[Session]) -> Behaviour | None:
    known = [behaviour_of(session) for session in sessions]
    return Behaviour(*(np.mean(each, axis=0) for each in zip(*known, strict=True))) if known else None
