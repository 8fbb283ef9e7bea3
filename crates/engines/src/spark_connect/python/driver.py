"""The driver of an in-cluster Python job: a process of its own, used once, attached to the shared Spark server.

`libra_connect.py DIR` runs the job of the attempt in DIR. Without an argument it imports what jobs need, says `ready`
on its standard input, which is a socket then, and waits to be told for which attempt. See `shim/cradle.rs`.
"""

import ast
import atexit
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time

import libra_program
import libra_result

TOKEN = "LIBRA_ATTEMPT_TOKEN"
# What jobs and this driver use, and takes long to import.
WARM = (
    "pandas",
    "pyarrow",
    "pyspark.sql.connect.session",
    "pyspark.sql.connect.functions",
    "pyspark.sql.connect.udf",
    "pyspark.sql.connect.window",
    "pyspark.sql.functions",
    "pyspark.sql.types",
    "pyspark.sql.window",
    "pyspark.cloudpickle",
    "zstandard",
    "libra_rows",
)


class Libra:
    """What a job can tell Libra; predefined as `libra`."""

    def __init__(self, spark, directory, limit):
        self._spark, self._directory, self._limit = spark, directory, limit
        self._told = False

    def result(self, df):
        """Makes the rows of `df`, a DataFrame of Spark or pandas or a list of rows, the result of this job.

        The last call counts.
        """
        import libra_rows

        if not is_dataframe(df):
            if not is_pandas(df) and not isinstance(df, list):
                raise TypeError(f"libra.result takes a DataFrame, not {type(df).__name__}")
            df = self._spark.createDataFrame(df)
        libra_rows.write(df, self._directory, self._limit)
        self._told = True

    def _last(self, value):
        if not self._told and (is_dataframe(value) or is_pandas(value) or is_rows(value)):
            self.result(value)


def is_dataframe(value):
    return hasattr(value, "toLocalIterator") and hasattr(value, "_plan")


def is_pandas(value):
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_rows(value):
    from pyspark.sql.types import Row

    return isinstance(value, list) and bool(value) and all(isinstance(row, Row) for row in value)


def session(job):
    """The session that the attempt has on the server; nothing is asked of the server yet."""
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    class Builder(DefaultChannelBuilder):
        @property
        def endpoint(self):
            # Where Libra's own server listens, without asking for the addresses of localhost first.
            return f"127.0.0.1:{self._port}" if self._host == "localhost" else super().endpoint

    spark = SparkSession(connection=Builder(os.environ["SPARK_REMOTE"]))
    client, tag = spark.client, job["tag"]
    tags = client.get_tags
    # On what every thread of the program starts: by the tag Libra finds it when the job is to end.
    client.get_tags = lambda: tags() | {tag}
    # Libra ends the session once the job has ended; one that is shared goes on.
    spark.release_session_on_close = False
    # So there is nothing to tidy up on the server, which may be dead by then: the client would try for minutes.
    atexit.unregister(client._on_exit)
    SparkSession._set_default_and_active_session(spark)
    return spark


def run(directory):
    """Runs the job to its end; answers the exit code."""
    with open(os.path.join(directory, "python.json"), encoding="utf-8") as file:
        job = json.load(file)
    path, phase = os.path.join(directory, "main.py"), "client"
    try:
        warm_up()
        # The scripts are imported; the program's own modules come from where it works.
        sys.path[0] = os.getcwd()
        phase = "start"
        spark = session(job)
        for key, value in job["settings"].items():
            phase = "settings"
            spark.conf.set(key, value)
        phase = "code"
        program(path, job["args"], spark, Libra(spark, directory, job["resultLimit"]))
    except SystemExit as exit:
        return exit_code(exit.code)
    except BaseException as error:
        libra_program.report(error, __file__, phase, directory)
        return 1
    return 0


def program(path, arguments, spark, libra):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    scope = {"__name__": "__main__", "__file__": path, "__builtins__": __builtins__, "__doc__": None, "__spec__": None}
    scope.update(spark=spark, libra=libra)
    sys.modules["__main__"] = libra_program.Main(scope)
    sys.argv = [path, *arguments]
    tree = ast.parse(text, path)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, path, "exec", dont_inherit=True), scope)
    if last is not None:
        libra._last(eval(compile(ast.Expression(last.value), path, "eval", dont_inherit=True), scope))


def exit_code(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def leave(code):
    """Ends as Python does, but does not tidy up memory that is gone in a moment anyway."""
    for end in (threading._shutdown, atexit._run_exitfuncs):
        try:
            end()
        except BaseException as error:
            print(f"libra: while the program ended: {error!r}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The program has closed it, or its disk is full.
            pass
    os._exit(code)


def warm_up():
    for name in WARM:
        importlib.import_module(name)


# The warm process.


def wait():
    """Waits, warm, for an attempt; answers its directory."""
    cradle = socket.socket(fileno=0)
    orders = cradle.makefile("r", encoding="utf-8")
    # Others may work meanwhile; the job itself runs as any process does.
    schedule(os.SCHED_BATCH)
    output = set_output_aside()
    try:
        warm_up()
    except ImportError as error:
        tell(cradle, f"unfit {error}")
        os._exit(1)
    rehearse()
    gc.collect()
    gc.freeze()
    tell(cradle, "ready")
    token = order(orders)
    schedule(os.SCHED_OTHER)
    carry(token)
    tell(cradle, "named")
    directory = order(orders)
    orders.close()
    cradle.detach()
    turn_to(directory, output)
    return directory


def set_output_aside():
    """Writes to a file from here on; answers where the job's output goes."""
    output = (os.dup(1), os.dup(2))
    file = os.open("warm.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    redirect((file, file))
    return output


def redirect(output):
    """Makes `output` the standard output and the standard error."""
    sys.stdout.flush()
    sys.stderr.flush()
    for number, target in zip((1, 2), output):
        os.dup2(target, number)
    for target in set(output):
        os.close(target)


def schedule(policy):
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        # Where it is forbidden, a process that gets warm costs the others a little more.
        pass


def rehearse():
    """Makes what is made on first use: a channel, to nowhere, and a plan. Nothing is asked of the server."""
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    try:
        spark = SparkSession(connection=DefaultChannelBuilder("sc://localhost:1/;token=none"))
        spark.range(1)
        spark.client.close()
        atexit.unregister(spark.client._on_exit)
    except Exception as error:
        print(f"libra: the rehearsal failed: {error!r}", file=sys.stderr)


def tell(cradle, line):
    cradle.sendall(line.encode("utf-8", "replace").replace(b"\n", b" ") + b"\n")


def order(orders):
    line = orders.readline()
    if not line:
        # The cradle is dead, and nobody will ever come.
        os._exit(0)
    return json.loads(line)


def carry(token):
    """Makes this process known by the attempt's token, as if it had been started with it.

    /proc/PID/environ shows the memory in which the environment was at the start. Tokens are all of one length.
    """
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        # The fields from the third on: the second, the name, may hold anything.
        fields = file.read().rpartition(")")[2].split()
    start = int(fields[47])
    with open("/proc/self/environ", "rb") as file:
        environ = b"\0" + file.read()
    value = environ.index(b"\0" + TOKEN.encode() + b"=") + len(TOKEN) + 1
    new = token.encode("ascii")
    if environ.index(b"\0", value + 1) - 1 - value == len(new):
        ctypes.memmove(start + value, new, len(new))


def turn_to(directory, output):
    """Becomes the attempt's process: its environment, its directory, its log."""
    with open(os.path.join(directory, "launch.json"), encoding="utf-8") as file:
        launch = json.load(file)
    os.environ.clear()
    os.environ.update(launch["env"])
    os.environ[TOKEN] = launch["token"]
    time.tzset()
    os.makedirs(launch["cwd"], mode=0o700, exist_ok=True)
    os.chdir(launch["cwd"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    redirect(output)


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else wait()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    # A polite end is what Ctrl-C is: the program's `finally` clauses run, and what waits for Spark wakes up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    leave(run(directory))


if __name__ == "__main__":
    main()
