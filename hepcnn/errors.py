"""What hepcnn raises: one small tree, so that a caller can catch ``HepcnnError`` and read one message.

Every message says the value, what was expected, and where (file, tree, entry, config key).
"""

import difflib
import importlib
import re
from collections.abc import Iterable
from types import ModuleType


class HepcnnError(Exception):
    """A problem with the user's input, config or installation. The message is meant to be read by the user."""

    exit_code = 1
    """What the command line ends with."""


class ConfigError(HepcnnError):
    """A configuration file or value that does not fit the schema."""


class InputError(HepcnnError):
    """A data file that cannot be read, or that holds values that cannot be used."""


class SchemaError(HepcnnError):
    """A file that does not fit the schema it was read with, or a schema that is itself wrong."""


class EmptySampleError(HepcnnError):
    """A selection, split or class without a single jet."""


class ExportError(HepcnnError):
    """A graph cannot be made, or does not give the scores that the network gives."""


class BundleError(HepcnnError):
    """A tagger bundle that is incomplete, damaged or made for something else."""


class TrainingError(HepcnnError):
    """A training that cannot go on, for instance because its loss is not a number."""


class BatchError(HepcnnError):
    """A batch system that does not answer, or that cannot do what is asked."""


class NotReadyError(HepcnnError):
    """A machine that lacks what a study needs, found before anything is run."""


class MissingExtraError(HepcnnError):
    """A function that needs an optional part of hepcnn that is not installed."""


class HepcnnWarning(UserWarning):
    """Something that hardly can be meant, and that can be done all the same: the message says what and where."""


def did_you_mean(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """Say which known names come nearest to a wrong one.

    Parameters
    ----------
    name
        The name that was not found.
    known
        The names that exist.
    most
        How many of them to offer at most.

    Returns
    -------
    str
        ``"; did you mean 'a' or 'b'?"``, or a list of what exists where nothing is near, or an empty string where
        nothing exists.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=most, cutoff=0.5)
    if near:
        return "; did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; there are: {shown}"


def hide_password(uri: str) -> str:
    """An address without the password in it, to be shown and kept; any other text as it is."""
    return re.sub(r"://([^/:@]*):[^/]*@", r"://\1@", uri, count=1)


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say which extra of hepcnn brings it.

    Raises
    ------
    MissingExtraError
        When the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package '{module.split('.')[0]}', which is not installed: pip install 'hepcnn[{extra}]'"
        ) from error
