"""The driver of a job whose program is a text: `libra_driver.py KIND FILE [ARG…]`; KIND is python, sql or scala.

It runs inside spark-submit. What went wrong is written to error.json, in the words of the program's author.
"""

import ast
import atexit
import json
import os
import re
import sys
import traceback
import types

import libra_result
import libra_scala

DIRECTORY = os.environ["LIBRA_ATTEMPT_DIR"]
RESULT_LIMIT = int(os.environ.get("LIBRA_RESULT_LIMIT", 256 * 1024 * 1024))


class Libra:
    """What a job can tell Libra; predefined as `libra`."""

    def result(self, df):
        """Makes the rows of `df` the result of this job. The last call counts."""
        if not hasattr(df, "_jdf"):
            raise TypeError(f"libra.result takes a Spark DataFrame, not {type(df).__name__}")
        libra_result.write(df, DIRECTORY, RESULT_LIMIT)


class Scope(dict):
    """The names of a program. `spark` comes into being when it is first used, at the latest."""

    def __missing__(self, name):
        if name != "spark":
            raise KeyError(name)
        self["spark"] = session()
        return self["spark"]


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


def session(**settings):
    from pyspark.sql import SparkSession

    before = PHASE[0]
    phase("start")
    builder = SparkSession.builder
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    phase(before)
    context = spark.sparkContext
    about = {"applicationId": context.applicationId, "sparkUi": context.uiWebUrl}
    try:
        libra_result.write_whole(os.path.join(DIRECTORY, "application.json"), json.dumps(about))
    except OSError as error:
        print(f"libra: the application's address was not recorded: {error}", file=sys.stderr)
    return spark


def end_session():
    context = sys.modules.get("pyspark")
    context = context and context.SparkContext._active_spark_context
    if context is None:
        return
    try:
        context.stop()
    except Exception as error:  # The work is done or has failed already; that is what is told.
        print(f"libra: the Spark session did not stop cleanly: {error}", file=sys.stderr)


def needs_session_first(tree):
    """True for a program that uses `spark` and does not make it.

    Functions such as `col` and `udf` ask for a session too, and a program may call them before it names `spark`.
    One that builds its own session has settings of its own, which a session made before would keep out.
    """
    uses = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "spark":
            if not isinstance(node.ctx, ast.Load):
                return False
            uses = True
        elif isinstance(node, ast.Name) and node.id in ("SparkContext", "SparkSession"):
            return False
        elif isinstance(node, ast.Attribute) and node.attr in ("SparkContext", "SparkSession", "builder"):
            return False
    return uses


def run_python(path, arguments):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    scope = Scope(__name__="__main__", __file__=path, __builtins__=__builtins__, __doc__=None, __spec__=None)
    scope["libra"] = Libra()
    sys.modules["__main__"] = Main(scope)
    sys.argv = [path, *arguments]
    phase("code")
    tree = ast.parse(text, path)
    if needs_session_first(tree):
        scope["spark"] = session()
    exec(compile(tree, path, "exec", dont_inherit=True), scope)


def read(path, **settings):
    """The text at a path or an address; `settings` are those of a session that has to be there for it."""
    phase("read")
    if path.startswith("file:"):
        from urllib.parse import unquote, urlparse

        path = unquote(urlparse(path).path)
    if "://" in path:
        first = session(**settings).read.text(path, wholetext=True).first()
        return first[0] if first else ""
    with open(path, encoding="utf-8-sig") as file:
        return file.read()


def run_scala(path, arguments):
    from py4j.protocol import Py4JNetworkError

    classes = os.path.join(DIRECTORY, "classes")
    os.makedirs(classes, mode=0o700, exist_ok=True)
    # Executors fetch the program's classes from the driver, which offers what is there.
    settings = {"spark.repl.class.outputDir": classes}
    phase("start")
    interpreter = libra_scala.start(classes)
    text = read(path, **settings)
    spark = session(**settings)

    def write(java):
        from pyspark.sql import DataFrame

        libra_result.write(DataFrame(java, spark), DIRECTORY, RESULT_LIMIT)

    try:
        libra_scala.run(interpreter, text, arguments, write, phase)
    except Py4JNetworkError:
        # The program ended the JVM, whose exit code is the job's.
        os._exit(1)


def run_sql(path):
    text = read(path)
    spark = session()
    phase("sql")
    libra_result.write(spark.sql(text), DIRECTORY, RESULT_LIMIT)


PHASE = ["start"]


def phase(name):
    PHASE[0] = name


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


def report(error):
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    name, message = type(error).__name__, own_words(error)
    if isinstance(error, libra_scala.ProgramError):
        name, message = error.name, error.message
        text = libra_scala.readable(error.trace, sys.argv[2])
    elif isinstance(error, libra_scala.CompileError):
        text = str(error)
        message = libra_scala.compile_message(text)
        PHASE[0] = "compile"
    else:
        text = "".join(traceback.format_exception(type(error), error, frames))
    sys.stdout.flush()
    sys.stderr.write(text)
    sys.stderr.flush()
    about = {
        "type": name,
        "message": message,
        "traceback": text,
        "phase": PHASE[0],
    }
    libra_result.write_whole(os.path.join(DIRECTORY, "error.json"), json.dumps(about))


def main():
    kind, path, *arguments = sys.argv[1:]
    # Not in a `finally`: the program's own threads may still use Spark, and Python waits for them before this.
    # What is registered first is called last, so the program's own exit functions have Spark too.
    atexit.register(end_session)
    try:
        if kind == "python":
            run_python(path, arguments)
        elif kind == "scala":
            run_scala(path, arguments)
        else:
            run_sql(path)
    except SystemExit:
        raise
    except BaseException as error:
        report(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
