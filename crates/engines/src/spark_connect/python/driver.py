"""The driver of an in-cluster Python job: a process of its own, used once, attached to the shared Spark server.

`libra_connect.py DIR` runs the job of the attempt in DIR. Without an argument it imports what jobs need, says `ready`
on its standard input, which is a socket then, and waits to be told for which attempt. See `shim/cradle.rs`.
"""

import ast
import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback

import libra_program
import libra_result

TOKEN = "LIBRA_ATTEMPT_TOKEN"
PROCESS = os.getpid()
OWN_SESSION = False
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
        self._told, self._lock = False, threading.RLock()

    def result(self, df):
        """Makes the rows of `df`, a DataFrame of Spark or pandas or a list of rows, the result of this job.

        The last call counts.
        """
        self._write(self._dataframe(df))

    def _dataframe(self, value):
        if is_dataframe(value):
            return value
        if not is_pandas(value) and not isinstance(value, list):
            raise TypeError(f"libra.result takes a DataFrame, not {type(value).__name__}")
        return self._spark.createDataFrame(value)

    def _write(self, df):
        import libra_rows

        with self._lock:
            libra_rows.write(df, self._directory, self._limit)
            self._told = True

    def _last(self, value):
        """The value of a program that ends with an expression: a result if it looks like one."""
        if self._told or not (is_dataframe(value) or is_pandas(value) or is_rows(value)):
            return
        try:
            df = self._dataframe(value)
            if df.isStreaming:
                return
        except Exception as error:
            # It was only looked at: nobody said that it has to be a table.
            print(f"libra: the last value is not kept as the result: {error}", file=sys.stderr)
            return
        self._write(df)


class Tally:
    """Counts what Spark has planned for the program and how much of it is done, for `tally.json`."""

    # Seconds between two writes.
    PAUSE = 1.0

    def __init__(self, directory):
        self._file = os.path.join(directory, "tally.json")
        # What has ended, and what is under way by operation: done, tasks, finished, stages.
        self._ended, self._open = (0, 0, 0, 0), {}
        self._lock, self._due = threading.Lock(), 0.0

    def __call__(self, stages, inflight_tasks, operation_id, done):
        stages = list(stages or ())
        now = (
            sum(stage.num_completed_tasks for stage in stages),
            sum(stage.num_tasks for stage in stages),
            sum(1 for stage in stages if stage.done),
            len(stages),
        )
        with self._lock:
            if done:
                self._open.pop(operation_id, None)
                self._ended = plus(self._ended, now)
            else:
                self._open[operation_id] = now
            if time.monotonic() < self._due:
                return
            self._due = time.monotonic() + self.PAUSE
            total = self._ended
            for tally in self._open.values():
                total = plus(total, tally)
            try:
                draft = f"{self._file}.draft"
                with open(draft, "w", encoding="utf-8", opener=libra_result.private) as file:
                    json.dump(dict(zip(("done", "tasks", "finished", "stages"), total)), file)
                os.replace(draft, self._file)
            except OSError:
                # The disk may be full: nothing depends on it.
                pass


def plus(one, other):
    return tuple(a + b for a, b in zip(one, other))


def is_dataframe(value):
    return hasattr(value, "toLocalIterator") and hasattr(value, "_plan")


def is_pandas(value):
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_rows(value):
    from pyspark.sql.types import Row

    return isinstance(value, list) and bool(value) and all(isinstance(row, Row) for row in value)


def session(job, directory):
    """The session that the attempt has on the server; nothing is asked of the server yet."""
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    class Builder(DefaultChannelBuilder):
        @property
        def endpoint(self):
            # Where Libra's own server listens, without asking for the addresses of localhost first.
            return f"127.0.0.1:{self._port}" if self._host == "localhost" else super().endpoint

    mark_clients(job, directory)
    spark = SparkSession(connection=Builder(os.environ["SPARK_REMOTE"]))
    SparkSession._set_default_and_active_session(spark)
    spark.registerProgressHandler(Tally(directory))
    return spark


def mark_clients(job, directory):
    """Lets Libra find whatever the program does on the server, in all the sessions that it makes."""
    from pyspark.sql.connect.client import SparkConnectClient as Client

    own, tag = job["session"], job["tag"]
    given = {name: getattr(Client, name) for name in ("__init__", "get_tags", "release_session")}
    # They name the session of what they have made afterwards.
    makers = [name for name in ("clone", "newSession") if hasattr(Client, name)]

    def note(client):
        if client._session_id == own:
            return
        with open(os.path.join(directory, "sessions"), "a", encoding="utf-8", opener=libra_result.private) as file:
            file.write(f"{client._session_id}\n")

    def made(client, *arguments, **options):
        given["__init__"](client, *arguments, **options)
        # There is nothing to tidy up on the server, which may be dead by the end: the client would try for minutes.
        atexit.unregister(client._on_exit)
        note(client)

    def noting(make):
        def make_and_note(client, *arguments, **options):
            another = make(client, *arguments, **options)
            note(another)
            return another

        return make_and_note

    def release(client):
        # Libra ends the job's own session once the job has ended; one that is shared goes on.
        if client._session_id != own:
            given["release_session"](client)

    for name in makers:
        setattr(Client, name, noting(getattr(Client, name)))
    Client.__init__, Client.release_session = made, release
    # On what every thread of the program starts.
    Client.get_tags = lambda client: given["get_tags"](client) | {tag}


def run(directory):
    """Runs the job to its end; answers the exit code."""
    global OWN_SESSION
    path, phase = os.path.join(directory, "main.py"), "start"
    try:
        with open(os.path.join(directory, "python.json"), encoding="utf-8") as file:
            job = json.load(file)
        OWN_SESSION = job["isolated"]
        phase = "client"
        warm_up()
        # The scripts are imported; the program's own modules come from where it works.
        sys.path[0] = os.getcwd()
        phase = "start"
        spark = session(job, directory)
        for key, value in job["settings"].items():
            phase = "settings"
            spark.conf.set(key, value)
        phase = "code"
        program(path, job["args"], spark, Libra(spark, directory, job["resultLimit"]))
    except SystemExit as exit:
        return exit_code(exit.code)
    except BaseException as error:
        if os.getpid() == PROCESS:
            libra_program.report(error, __file__, phase, directory)
        else:
            # A child that the program has forked: what becomes of it is the program's business.
            traceback.print_exception(error)
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
    """Ends as Python does, but lets what others wait for end while Spark can still be used, and does not tidy up memory
    that is gone in a moment anyway."""
    for end in (wait_for_threads, atexit._run_exitfuncs, shut_down_pools, close_files, flush):
        try:
            end()
        except BaseException as error:
            try:
                print(f"libra: while the program ended: {error!r}", file=sys.stderr)
            except Exception:
                pass
    os._exit(code)


def wait_for_threads():
    """Waits for what the program has begun. Python itself first lets nobody begin anything any more, Spark's client
    included."""
    from concurrent.futures import ThreadPoolExecutor, thread

    gc.collect()
    pools = [o for o in gc.get_objects() if isinstance(o, ThreadPoolExecutor)]
    of_the_client = {id(pool) for pool in clients_pools()}
    for pool in pools:
        if id(pool) not in of_the_client:
            pool.shutdown(wait=True)
    while True:
        idle = set(thread._threads_queues)
        others = [t for t in threading.enumerate() if not t.daemon and t is not threading.current_thread()]
        others = [t for t in others if t not in idle]
        if not others:
            return
        for other in others:
            other.join()


def shut_down_pools():
    """What Python does at its end with pools of threads and processes."""
    # Those of Spark's client let go of what was read. In a session of the job's own that is Libra's business: it ends the
    # whole session in a moment.
    if not OWN_SESSION or "concurrent.futures.process" in sys.modules:
        threading._shutdown()


def clients_pools():
    """The threads by which Spark's client lets go of what it has read: the program's threads may be using them."""
    from pyspark.sql.connect.client.reattach import ExecutePlanResponseReattachableIterator as Reader

    return [reader._release_thread_pool_instance for reader in list(Reader._instances)]


def close_files():
    """Lets go of the program's objects: files that it has left open are written to their end."""
    main = sys.modules.get("__main__")
    if isinstance(main, libra_program.Main):
        main.__dict__.clear()
    gc.collect()
    # Those that something else still holds.
    for file in [o for o in gc.get_objects() if isinstance(o, io.IOBase)]:
        try:
            if not file.closed and file.writable():
                file.flush()
        except Exception:
            # It has been taken apart already, or its disk is full.
            pass


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # The program has closed it, or has put something else in its place.
            pass


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
    place = place_of_name()
    gc.collect()
    gc.freeze()
    tell(cradle, "ready")
    token = order(orders)
    schedule(os.SCHED_OTHER)
    carry(token, place)
    tell(cradle, "named")
    directory = order(orders)
    orders.close()
    cradle.detach()
    try:
        turn_to(directory, output)
    except OSError as error:
        libra_program.report(error, __file__, "start", directory)
        os._exit(1)
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


def place_of_name():
    """Where in memory the value of this process's own token is, and how long it is.

    /proc/PID/environ shows the memory in which the environment was at the start.
    """
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        # The fields from the third on: the second, the name, may hold anything.
        fields = file.read().rpartition(")")[2].split()
    start = int(fields[47])
    with open("/proc/self/environ", "rb") as file:
        environ = b"\0" + file.read()
    value = environ.index(b"\0" + TOKEN.encode() + b"=") + len(TOKEN) + 1
    return start + value, environ.index(b"\0", value + 1) - 1 - value


def carry(token, place):
    """Makes this process known by the attempt's token, as if it had been started with it. Tokens are all of one length."""
    new, (start, length) = token.encode(), place
    if length == len(new):
        ctypes.memmove(start, new, length)


def turn_to(directory, output):
    """Becomes the attempt's process: its environment, its directory, its log."""
    redirect(output)
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


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else wait()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: be_told_to_end(directory))
    leave(run(directory))


def be_told_to_end(directory):
    """A polite end is what Ctrl-C is: the program's `finally` clauses run, and what waits for Spark wakes up."""
    if os.getpid() == PROCESS:
        # Whatever the program makes of it, it did not come to its own end.
        os.close(os.open(os.path.join(directory, "terminated"), os.O_WRONLY | os.O_CREAT, 0o600))
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
