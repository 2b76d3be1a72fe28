"""What an adaptation found: ``adaptation.json``."""

from realm_edge.documents import Form, Number
from realm_edge.training.adapt import Arm

ADAPTATION = "realm-edge adaptation/1"
MAKERS = ("numpy", "torch", "onnx", "onnxruntime", "apache-tvm", "ziglang")  # packages whose version decides what is in it


class Row(Form):
    """One student."""

    arm: Arm
    steps: int  # of the optimiser; with "hindsight", also those of its teacher
    old_error: Number  # mean squared error on the validation part of the run's labelled session, of its behaviour's variance
    near: Number  # to the teacher: R2 of its hindsight on the last part of the day, which nobody was trained on
    r2: Number | None  # of the day's behaviour there, where it was given


class Check(Form):
    """One of the conditions under which the old student is replaced."""

    holds: bool
    text: str
    difference: Number | None  # of R2; None where errors are compared
    interval: tuple[Number, Number] | None  # 95 %, over blocks of the day's last part


class Update(Form):
    """What an implant would be sent, and what became of the firmware that has it."""

    steps: int  # compared with onnxruntime; every bit of every one was equal
    constant_bytes: int  # of the decoder: weights, biases, scales, tables
    changed_constant_bytes: int  # of those constants that differ from the old decoder's
    code_bytes: int  # of all that is linked beside constants
    changed_code_bytes: int  # of those functions that differ


class Adaptation(Form):
    """``adaptation.json``."""

    today: str  # the day's recording
    session: str  # the run's labelled session
    synthetic: bool
    seconds: Number  # of the day
    tested_seconds: Number  # of its last part
    winner: Arm  # "hindsight": the new student; "old"
    rests_on: str
    behaviour_checks: tuple[Check, ...]  # where the day's behaviour was given: the first alone decides
    teacher_checks: tuple[Check, ...]  # all of them decide where it was not
    teacher_error: Number  # as old_error
    trust: Number  # mean weight of the teacher's labels
    rows: tuple[Row, ...]
    nrmse_int8_float: Number | None  # of the new student, over the bins that ran as firmware; None where the old one is kept
    updates: dict[str, Update]  # by target; none where the old student is kept
