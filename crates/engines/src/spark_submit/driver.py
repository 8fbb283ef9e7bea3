"""The driver of a job whose program is a text: `libra_driver.py KIND FILE [ARG…]`; KIND is python, sql or scala.

It runs inside spark-submit. What went wrong is written to error.json, in the words of the program's author.
"""

import ast
import atexit
import json
import os
import sys

import libra_program
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
    sys.modules["__main__"] = libra_program.Main(scope)
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
    except (Py4JNetworkError, ConnectionError):
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


def report(error):
    # Of Scala, the program's own words are not those of the Python around it.
    if isinstance(error, libra_scala.ProgramError):
        text = libra_scala.readable(error.trace, sys.argv[2])
        libra_program.tell(error.name, error.message, text, PHASE[0], DIRECTORY)
    elif isinstance(error, libra_scala.CompileError):
        text = str(error)
        message = libra_scala.compile_message(text)
        libra_program.tell(type(error).__name__, message, text, "compile", DIRECTORY)
    else:
        libra_program.report(error, __file__, PHASE[0], DIRECTORY)


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
