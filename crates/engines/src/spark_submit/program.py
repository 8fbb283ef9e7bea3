"""What the drivers of Python programs have in common: the program's module, and the words for what went wrong."""

import json
import os
import re
import sys
import traceback
import types

import libra_result


class Main(types.ModuleType):
    """The module that the program believes to be: pickling looks its classes up here."""

    def __init__(self, scope):
        super().__init__("__main__")
        object.__setattr__(self, "_scope", scope)

    def __getattribute__(self, name):
        scope = object.__getattribute__(self, "_scope")
        if name == "__dict__":
            return scope
        try:
            return scope[name]
        except KeyError:
            return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        object.__getattribute__(self, "_scope")[name] = value


def own_words(error):
    """The one line of an error that says most."""
    text = str(error).strip()
    causes = [text]
    java = getattr(error, "java_exception", None)
    while java is not None:
        causes.append(str(java.toString()))
        java = java.getCause()
    inner = causes[-1] if len(causes) > 1 else text
    if "Traceback (most recent call last)" in inner:
        after = inner.rsplit("Traceback (most recent call last)", 1)[1].splitlines()[1:]
        flush = [line for line in after if line and not line[0].isspace()]
        return flush[0] if flush else inner.splitlines()[0]
    first = next((line.strip() for line in inner.splitlines() if line.strip()), "").rstrip(";")
    if first.endswith(":") and "Caused by: " in inner:
        # "Error while instantiating …:" says nothing; the innermost cause does, without its Java class.
        cause = inner.rsplit("Caused by: ", 1)[1].splitlines()[0]
        return re.sub(r"^([A-Za-z_$]\w*\.)+[\w$]+: ", "", cause)
    return first


def report(error, driver, phase, directory):
    """Writes what went wrong, without the frames of the script `driver`, to the log and to error.json."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == driver:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    tell(type(error).__name__, own_words(error), text, phase, directory)


def tell(name, message, text, phase, directory):
    """Writes what went wrong to the log and to error.json; `text` is the whole of it."""
    about = {
        "type": name,
        "message": message,
        "traceback": text,
        "phase": phase,
    }
    libra_result.write_whole(os.path.join(directory, "error.json"), json.dumps(about))
    try:
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        # The program has closed them, or has put something else in their place.
        pass
