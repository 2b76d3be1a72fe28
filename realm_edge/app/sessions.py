"""The sessions of a run, as the data stage left them. Light to import: what reads recordings is not needed for them."""

from realm_edge import session as session_module
from realm_edge.app.rundir import RunDir
from realm_edge.documents import Form, read_document
from realm_edge.session import Session

INDEX = "realm-edge sessions/1"


class Index(Form):
    """``data/index.json``."""

    sessions: tuple[str, ...]  # names of files; the held-out one is the last
    heldout: str  # its name


def load_sessions(run: RunDir) -> list[Session]:
    """Load what the data stage wrote; the held-out session comes last.

    Raises:
        UserError: the index or a session is missing or broken.
    """
    index = read_document(run.file("data", "index.json"), INDEX, Index, f"run 'realm-edge data --out {run.path}'")
    return [session_module.load(run.file("data", name)) for name in index.sessions]
