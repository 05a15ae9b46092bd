"""What data are, in a line that every figure, page and report begins with. Reads no file."""


def mark_of(anatomy: str, source: str) -> str:
    """Whether people and images are real.

    Args:
        anatomy: ``real`` or ``procedural``.
        source: ``real``, or the renderer's name.
    """
    people = "PROCEDURAL anatomy, no real people" if anatomy == "procedural" else "real anatomy"
    made = (
        "real CT as acquired"
        if source == "real" and anatomy == "real"
        else f"CT rendered by '{source}'"
        if source != "real"
        else "procedural CT in the place of real CT"
    )
    return f"{people}; {made}; not a clinical result"
