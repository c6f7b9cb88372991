"""What can go wrong, in a handful of kinds. Doors turn exactly these into one line."""

LONGEST = 2000  # characters of a line; of longer ones the middle is left out


def printable(text: str) -> str:
    """One line that a terminal shows as it is: line ends, control characters and what is no Unicode are escaped."""
    if not text.isprintable():
        escaped = (each if each.isprintable() else ascii(each)[1:-1] for each in text)
        text = "".join(escaped)
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 3 // 4]} … {text[-LONGEST // 5 :]}"


class MorelliError(Exception):
    """Base of every error that is raised on purpose. The text says what was given, expected, and to do.

    Whatever names and values it quotes, it is one printable line.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class MismatchError(MorelliError):
    """Two things that must fit do not: a shape, a size, a number of channels."""


class OutOfRange(MorelliError):
    """A value lies outside the range its meaning allows."""


class UnsuitableSolver(MorelliError):
    """A solver that does not take this problem: its size, or what the samples are held against."""


class UnsuitableProgram(MorelliError):
    """A network that cannot be stored and run without its code, or a stored one that was tampered with."""


class HeadNotFound(MorelliError):
    """The last linear layer of a module could not be found or does not reproduce the module's output."""


class UnreadableSample(MorelliError):
    """A file is not a sample that this program reads. It is reported per file and never stops a run."""


class UnreadableBundle(MorelliError):
    """A bundle is missing, damaged, tampered with, of another format, or of another kind."""


class TooFewSamples(MorelliError):
    """There are not enough samples for what is promised, for example a rate below 1/(n+1)."""
