"""The one exception family. Knows of the rest of the package only how text is made printable.

A `MbexploreError` is a user's mistake in one sentence that names the offending value and the
remedy; each front end catches it once and prints it without a traceback. Anything else that is
raised is a bug and keeps its traceback.
"""

from mbexplore.text import shortened, shown

_LONGEST = 1_000
"""Characters of a sentence: paths and values come from outside, and may be megabytes."""


class MbexploreError(Exception):
    """A mistake the user can mend; `str(error)` is one sentence with the value and the remedy.

    Whatever the sentence names, it is printable and of a bounded length.
    """

    exit_code = 1

    def __init__(self, sentence: str = "") -> None:
        super().__init__(shown(shortened(sentence, _LONGEST)))


class UsageError(MbexploreError):
    """A command line that asks for something contradictory."""

    exit_code = 2


class MissingError(UsageError):
    """A second text or model that is needed and isn't given yet."""


class TextError(MbexploreError):
    """A text that can't be used: empty, too long, without a `[MASK]`, not UTF-8."""


class ModelError(MbexploreError):
    """A checkpoint that can't be found, read or trusted, or that lacks the part asked for."""


class TransformersError(ModelError):
    """A checkpoint that we open and Hugging Face's transformers can't open or run."""


class RangeError(MbexploreError):
    """A layer, head or token outside the model or the text."""


class OutputError(MbexploreError):
    """A file that can't be written, or a format that can't hold the answer."""


class DeviceError(MbexploreError):
    """A device that isn't there."""
