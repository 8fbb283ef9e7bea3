"""Begins a Python job of Libra, within the process that Flink's PythonDriver has started.

Its one argument is JSON: {"script": what to call the program, "module": the module to run or null, "args": [...],
"run": what the setting `libra.run` of this run is}.
Without a module the program is `libra_job.py` beside this file. What goes wrong is told to the JVM, which else says no more
than the exit code. No import of PyFlink is needed for that, since it may be what is missing.
"""

import json
import linecache
import os
import pkgutil
import runpy
import socket
import sys
import traceback
import types

PROGRAM = "libra_job.py"
EXCEPTION = "org.apache.flink.client.deployment.application.UnsuccessfulExecutionException"
ENVIRONMENT = "org.apache.flink.streaming.api.environment.StreamExecutionEnvironment"
DRIVER = "z:org.apache.flink.client.python.PythonEnvUtils"


def escaped(text):
    """A text as py4j sends it: on one line."""
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")


def tell(words):
    """Makes `words` the reason for which PythonDriver ends: what Flink then says of this program."""
    port = int(os.environ["PYFLINK_GATEWAY_PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        replies = connection.makefile("r", encoding="utf-8")

        def ask(*lines):
            connection.sendall(("\n".join(lines) + "\ne\n").encode("utf-8", "replace"))
            return replies.readline().strip()

        # The one class that the driver takes. `!yro0`: it went well, and the object is called o0.
        made = ask("i", EXCEPTION, "n", "n", "s" + escaped(words), "n")
        ask("c", DRIVER, "setPythonException", "r" + made[3:])


def words_of(error):
    """Python's own last words, and the places in the program that led there; the words first, for texts are cut short."""
    # What the JVM has thrown: its own words, causes included, tell Libra what kind of failure it is.
    java = getattr(error, "java_exception", None)
    if java is not None and type(error).__module__ == "py4j.protocol":
        return str(error).partition("\n: ")[2]
    if type(error).__module__ == "pyflink.util.exceptions":
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({os.path.basename(error.filename or '?')} line {error.lineno})"
    words = "".join(traceback.format_exception_only(type(error), error)).strip()
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen ")
    ]
    places = "; ".join(f"{os.path.basename(f.filename)} line {f.lineno}, in {f.name}" for f in own[:4])
    return f"{words} ({places})" if places else words


def keep_to_own_environment(run):
    """Flink puts what a program runs in (its settings, its job id) into a variable of its main thread, and into one that
    all programs share, the newest winning. PyFlink's calls come on another thread, so another program that begins at the same
    moment would be taken for this one. This puts it into the variable of the thread on which they come.
    """
    try:
        from pyflink.java_gateway import get_gateway
    except ImportError:
        return  # The program will say so itself.
    gateway = get_gateway()
    jvm = gateway.jvm
    by_name = jvm.java.lang.Class.forName

    def field(class_name, name):
        found = by_name(class_name).getDeclaredField(name)
        found.setAccessible(True)
        return found

    variable = field(ENVIRONMENT, "threadLocalContextEnvironmentFactory").get(None)
    variables_of = field("java.lang.Thread", "threadLocals")
    nothing = jvm.org.apache.flink.configuration.Configuration()
    types = gateway.new_array(jvm.java.lang.Class, 1)
    types[0] = by_name("java.lang.ThreadLocal")
    entry_in = by_name("java.lang.ThreadLocal$ThreadLocalMap").getDeclaredMethod("getEntry", types)
    entry_in.setAccessible(True)
    which = gateway.new_array(jvm.java.lang.Object, 1)
    which[0] = variable
    value_of = field("java.lang.ThreadLocal$ThreadLocalMap$Entry", "value")
    for thread in jvm.java.lang.Thread.getAllStackTraces().keySet():
        variables = variables_of.get(thread)
        entry = None if variables is None else entry_in.invoke(variables, which)
        factory = None if entry is None else value_of.get(entry)
        if factory is None:
            continue
        settings = factory.createExecutionEnvironment(nothing).getConfiguration().toMap()
        if settings.get("libra.run") == run:
            variable.set(factory)
            return
    raise RuntimeError("Flink does not say what this program runs in; apply again")


def run(script, module, args):
    sys.argv = [script, *args]
    if module is not None:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    source = pkgutil.get_data(__name__, PROGRAM)
    # So that a traceback in the JobManager's log shows the lines.
    linecache.cache[script] = (len(source), None, source.decode("utf-8", "replace").splitlines(True), script)
    code = compile(source, script, "exec")
    main = types.ModuleType("__main__")
    main.__file__ = script
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def main():
    order = json.loads(sys.argv[1])
    try:
        keep_to_own_environment(order["run"])
        run(order["script"], order["module"], order["args"])
    except SystemExit as end:
        if end.code in (None, 0):
            return
        tell(f"the program ended itself with: {end.code}")
        sys.exit(1)
    except BaseException as error:
        traceback.print_exc()
        tell(words_of(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
