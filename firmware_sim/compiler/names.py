"""What a bundle's C names begin with: a prefix for each model, so that several models can be linked into one program."""

import re

from realm_edge.errors import UserError

DEFAULT_NAME = "realm"
_LONGEST = 40
# C11 7.31 keeps names of functions that begin so for later versions of its library.
_OF_THE_LIBRARY = re.compile(r"(is|mem|str|to|wcs)[a-z]")


def model_prefix(name: str, stream: str) -> str:
    """The prefix of the model that decodes a stream: of "realm" and "lfp", ``realm_lfp``; file names and symbols begin with it.

    Args:
        name: what the user chose, or :data:`DEFAULT_NAME`.

    Raises:
        UserError: see :func:`check_prefix`.
    """
    check_prefix(name)
    return f"{name}_{stream}"


def check_prefix(prefix: str) -> None:
    """See that a prefix makes C and C++ identifiers, and names of files, that collide with nobody's.

    It has to be lower-case, since macros and include guards begin with it in capitals: of two prefixes that differ in case alone, they
    would be the same.

    Raises:
        UserError: it does not; the message names the prefix and what it may be.
    """
    kind = f"a lower-case C identifier of at most {_LONGEST} characters"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", prefix, flags=re.ASCII) or len(prefix) > _LONGEST:
        raise UserError(f"prefix '{prefix}' is not {kind}; take one such as 'acme'")
    if "__" in prefix or prefix.endswith("_"):
        raise UserError(f"prefix '{prefix}' makes names with two underscores in a row, which C++ reserves; take single ones")
    if _OF_THE_LIBRARY.match(prefix):
        raise UserError(
            f"prefix '{prefix}' begins as names of C's library do (is.., mem.., str.., to.., wcs..), which are reserved; take another"
        )
