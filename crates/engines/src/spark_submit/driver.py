"""The driver of a job whose program is a text: `libra_driver.py python FILE [ARG…]` or `libra_driver.py sql FILE`.

It runs inside spark-submit. What went wrong is written to error.json, in the words of the program's author.
"""

import ast
import atexit
import json
import os
import sys

import libra_program
import libra_result

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


def session():
    from pyspark.sql import SparkSession

    before = PHASE[0]
    phase("start")
    spark = SparkSession.builder.getOrCreate()
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


def run_sql(path):
    phase("read")
    if path.startswith("file:"):
        from urllib.parse import unquote, urlparse

        path = unquote(urlparse(path).path)
    if "://" in path:
        first = session().read.text(path, wholetext=True).first()
        text = first[0] if first else ""
    else:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    spark = session()
    phase("sql")
    libra_result.write(spark.sql(text), DIRECTORY, RESULT_LIMIT)


PHASE = ["start"]


def phase(name):
    PHASE[0] = name


def main():
    kind, path, *arguments = sys.argv[1:]
    # Not in a `finally`: the program's own threads may still use Spark, and Python waits for them before this.
    # What is registered first is called last, so the program's own exit functions have Spark too.
    atexit.register(end_session)
    try:
        if kind == "python":
            run_python(path, arguments)
        else:
            run_sql(path)
    except SystemExit:
        raise
    except BaseException as error:
        libra_program.report(error, __file__, PHASE[0], DIRECTORY)
        sys.exit(1)


if __name__ == "__main__":
    main()
