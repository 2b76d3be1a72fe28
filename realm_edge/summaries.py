"""What is written down of sessions and of decoders: parts of stage records and of ``metrics.json``. Light to import."""

from realm_edge.documents import Form, Number


class SessionSummary(Form):
    """One session of a run, as :class:`realm_edge.session.Session` has it."""

    name: str
    heldout: bool  # the session that is decoded
    synthetic: bool
    seconds: Number
    bins: int
    segments: int
    channels: int
    bad_channels: tuple[int, ...]  # left out, from 0
    spike_source: str  # "broadband", "units" or "none"
    units: int
    spike_electrodes: int | None  # that sorted units come from; None: nobody says
    targets: tuple[str, ...]  # names of the behaviour's axes
    target_unit: str
    train_bins: int
    validation_bins: int
    test_bins: int
    unknown_behavior_bins: int
    resampling_delay_ms: Number  # how far the resampled LFP looks ahead
    provenance: dict[str, str]  # files, series, and what was done about flaws


class Pretraining(Form):
    """The sessions that pretrain for the decoded one."""

    sessions: tuple[str, ...]
    left_out: tuple[str, ...]  # with other axes, or without this input
    note: str | None  # what is done where there are none


class Scores(Form):
    """Accuracy on bins of known behaviour, means over its axes: ``r2`` against the bins' own mean, ``r`` Pearson's correlation."""

    r2: Number
    r: Number
    r2_by_axis: dict[str, Number]
    r_by_axis: dict[str, Number]
    bins: int


class HeldOutScores(Scores):
    """Accuracy on a session's test part."""

    r2_with_history: Number | None  # over the bins with a second of their segment behind them; None where it is undefined
    bins_with_history: int
    angle_error_deg: dict[str, Number] | None = None  # mean absolute error of each angle; absent where nothing is an angle
