"""Text that came from files, as a terminal may show it."""


def printable(text: str) -> str:
    """Escape what cannot be printed: a name with a line break stays on its line, and no name holds commands for the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)
