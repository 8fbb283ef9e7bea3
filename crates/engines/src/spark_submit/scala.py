"""Runs a Scala program in the driver's own JVM, with the interpreter that Spark ships for its shell.

The shell itself exits 0 whatever happens. Here the program is a text that is compiled and run as in the shell (with
`spark`, `sc` and the shell's imports in place), but an exception or a compile error is told as such.
"""

import json
import os
import re
import sys
import threading

# As in spark-shell; and what a job can tell Libra.
PRELUDE = """
@transient val spark: org.apache.spark.sql.SparkSession = org.apache.spark.sql.SparkSession.builder().getOrCreate()
@transient val sc: org.apache.spark.SparkContext = spark.sparkContext
val args: Array[String] = Array[String]({arguments})
"""
# In a piece of their own, as in spark-shell.
IMPORTS = """
import org.apache.spark.SparkContext._
import spark.implicits._
import spark.sql
import org.apache.spark.sql.functions._
"""
# It is serializable because functions of the program may drag along whatever its text names.
HELPER = """
object libra extends Serializable {
  /** Makes the rows of `df` the result of this job. The last call counts. */
  def result(df: org.apache.spark.sql.Dataset[_]): Unit = {
    val done = new java.util.concurrent.CompletableFuture[AnyRef]()
    libraRequests.put(java.util.List.of[AnyRef](df.toDF(), done))
    try done.get() catch {
      case e: java.util.concurrent.ExecutionException => throw e.getCause
    }
  }
}
"""
# What may stand in one piece with the classes before it: nothing of it runs by itself.
DEFINITIONS = {"ClassDef", "ModuleDef", "TypeDef", "DefDef", "Import"}
NOTHING_RUNS = (
    "the program defines things and runs none of them: call what it is to do, or give one object a `main`"
)
# How long the thread that writes results waits for a request before it looks whether it is over, in seconds.
LOOK = 1


class CompileError(Exception):
    """The compiler's words."""


class ProgramError(Exception):
    """What the program threw."""

    def __init__(self, throwable, trace):
        super().__init__(str(throwable.toString()))
        self.trace = trace
        # Spark's own exceptions around another one say little: the innermost cause does.
        while str(throwable.getClass().getName()).startswith("org.apache.spark.Spark") and throwable.getCause():
            throwable = throwable.getCause()
        # Not the class itself: Spark has hidden ones that call themselves by the name that people know.
        said = re.match(r"(?:[\w$]+\.)+([\w$]+)(?=:|$)", str(throwable.toString()))
        self.name = said.group(1) if said else str(throwable.getClass().getSimpleName())
        lines = str(throwable.getMessage() or "").strip().splitlines()
        self.message = lines[0].rstrip(";") if lines else ""


class Interpreter:
    """The REPL's interpreter, made before the Spark session; it keeps its classes in `classes`.

    Threads of the session inherit the interpreter's class loader, by which results that hold classes of the program
    are read.
    """

    def __init__(self, jvm, classes):
        self.jvm = jvm
        self.said = self.jvm.java.io.StringWriter()
        shell = self.jvm.scala.tools.nsc
        settings = shell.Settings()
        jars = str(jvm.org.apache.spark.SparkConf(True).get("spark.repl.local.jars", "")).split(",")
        paths = [str(self.jvm.java.net.URI(jar).getPath()) for jar in jars if jar]
        options = ["-usejavacp", "-Yrangepos", "-Yrepl-class-based", "-Yrepl-outdir", classes]
        options += ["-classpath", ":".join(paths)] if paths else []
        settings.processArguments(self.jvm.PythonUtils.toSeq(options).toList(), True)
        writer = self.jvm.java.io.PrintWriter(self.said, True)
        self.reporter = shell.interpreter.shell.ReplReporterImpl(settings, writer)
        getattr(self.reporter, "printResults_$eq")(False)
        self.repl = shell.interpreter.IMain(settings, self.reporter)
        self.enter()

    def enter(self):
        """Lets this thread, and those that it makes, find the program's classes."""
        self.jvm.java.lang.Thread.currentThread().setContextClassLoader(self.repl.classLoader())

    def heard(self):
        """What the compiler has said since the last time."""
        text = str(self.said.toString())
        self.said.getBuffer().setLength(0)
        return text

    def bind(self, name, kind, value):
        self.repl.bind(name, kind, value, self.jvm.PythonUtils.toSeq(["@transient"]).toList())

    def run(self, text):
        """Compiles and runs `text`; what goes wrong is raised."""
        outcome = str(self.repl.interpret(text).toString())
        said = self.heard()
        if outcome == "Error" and "<synthetic>" in said and not self.has_thrown():
            # The REPL failed, rarely, at the text that it puts around the program's. Nothing has been run.
            outcome = str(self.repl.interpret(text).toString())
            said = self.heard()
        if outcome == "Success":
            # Warnings.
            print(said, end="", flush=True)
            return
        if self.has_thrown():
            thrown = self.repl.valueOfTerm("lastException").get()
            trace = self.jvm.java.io.StringWriter()
            thrown.printStackTrace(self.jvm.java.io.PrintWriter(trace, True))
            raise ProgramError(thrown, str(trace.toString()))
        raise CompileError(said or "the program is not complete: a bracket, a brace or a quote is not closed")

    def has_thrown(self):
        """True when what was run last threw something: then it was compiled, and began to run."""
        return str(self.repl.mostRecentVar()) == "lastException"

    def pieces(self, text):
        """The program in pieces that are compiled one after the other, each with its line numbers.

        Spark can use a class of the program only when the piece that defines it has been run.
        """
        parsed = self.repl.parse(text)
        if not parsed.isRight():
            if "Incomplete" in str(parsed.toString()):
                raise CompileError(
                    "the program is not complete: a bracket, a brace or a quote is not closed"
                )
            raise CompileError(self.heard())
        self.heard()
        statements = parsed.toOption().get()._1()
        self.main = self.entry(statements)
        cuts, classes = [0], False
        # Positions count UTF-16 units.
        units = text.encode("utf-16-le")
        for at in range(statements.size()):
            statement = statements.apply(at)
            kind = str(statement.getClass().getSimpleName())
            if kind not in DEFINITIONS and classes:
                cuts.append(statement.pos().start())
                classes = False
            classes |= kind == "ClassDef"
        for begin, end in zip(cuts, cuts[1:] + [len(units) // 2]):
            before = units[: 2 * begin].decode("utf-16-le")
            column = len(before) - (before.rfind("\n") + 1)
            piece = units[2 * begin : 2 * end].decode("utf-16-le")
            yield "\n" * before.count("\n") + " " * column + piece

    def entry(self, statements):
        """The object whose `main` is to be called; None when the program does something by itself.

        An object is only made when somebody names it: a file that holds nothing but an application would do nothing.
        """
        trees = [statements.apply(at) for at in range(statements.size())]
        if any(str(tree.getClass().getSimpleName()) not in DEFINITIONS for tree in trees):
            return None
        objects = [tree for tree in trees if str(tree.getClass().getSimpleName()) == "ModuleDef"]
        mains = [str(tree.name().toString()) for tree in objects if has_main(tree.impl())]
        if len(mains) > 1:
            raise CompileError(f"{' and '.join(mains)} have a `main` each: call the one that is meant")
        if not mains:
            raise CompileError(NOTHING_RUNS)
        return mains[0]

    def dataset_of_last_expression(self):
        """The DataFrame that the program ends with; None when it ends with something else."""
        name = str(self.repl.mostRecentVar())
        if not re.fullmatch(r"res\d+", name):
            return None
        value = self.repl.valueOfTerm(name)
        dataset = self.jvm.java.lang.Class.forName("org.apache.spark.sql.Dataset")
        if not value.isDefined() or not dataset.isInstance(value.get()):
            return None
        return value.get().toDF()


def has_main(template):
    """True for the body of an object that is an application."""
    body, parents = template.body(), template.parents()
    members = [body.apply(at) for at in range(body.size())]
    if any(str(m.getClass().getSimpleName()) == "DefDef" and str(m.name().toString()) == "main" for m in members):
        return True
    return any(str(parents.apply(at).toString()) in ("App", "scala.App") for at in range(parents.size()))


def serve(interpreter, requests, write, over):
    """Writes the results that the program asks for, until it is over."""
    interpreter.enter()
    seconds = interpreter.jvm.java.util.concurrent.TimeUnit.SECONDS
    while not over.is_set():
        request = requests.poll(LOOK, seconds)
        if request is None:
            continue
        done = request.get(1)
        try:
            write(request.get(0))
            done.complete(None)
        except Exception as error:
            java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
            if java is None:
                java = interpreter.jvm.RuntimeException(f"libra.result: {error}")
            done.completeExceptionally(java)


def start(classes):
    """An interpreter in the JVM that this process belongs to."""
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    return Interpreter(SparkContext._jvm, classes)


def run(interpreter, text, arguments, write, phase):
    """Runs the program `text`; `write` makes a Java DataFrame the result."""
    from pyspark import InheritableThread

    requests = interpreter.jvm.java.util.concurrent.LinkedBlockingQueue()
    # JSON's escapes are Scala's as well.
    interpreter.run(PRELUDE.format(arguments=", ".join(map(json.dumps, arguments))))
    interpreter.run(IMPORTS)
    interpreter.bind(
        "libraRequests", "java.util.concurrent.LinkedBlockingQueue[java.util.List[AnyRef]]", requests
    )
    interpreter.run(HELPER)
    asked, over = [], threading.Event()

    def counted(df):
        asked.append(True)
        write(df)

    server = InheritableThread(target=serve, args=(interpreter, requests, counted, over), daemon=True)
    server.start()
    try:
        phase("compile")
        for piece in interpreter.pieces(text):
            phase("code")
            interpreter.run(piece)
        if interpreter.main is not None:
            interpreter.run(f"{interpreter.main}.main(args)")
        last = None if asked else interpreter.dataset_of_last_expression()
    finally:
        over.set()
    server.join()
    if last is not None:
        interpreter.enter()
        phase("result")
        write(last)


def compile_message(words):
    """One line of what the compiler said: `line 2: not found: value x`."""
    found = re.search(r"(?:On line (\d+): )?error: (.*(?:\n +(?:found|required) *:.*)*)", words)
    if found is None:
        return next((line.strip() for line in words.splitlines() if line.strip()), "it does not compile")
    return f"line {found.group(1) or 1}: " + re.sub(r"\s+", " ", found.group(2))


def readable(trace, path):
    """A stack trace in which the program's lines are named as such, without what runs them."""
    name = os.path.basename(path)
    lines, hidden = [], False
    for line in trace.splitlines():
        if re.match(r"\tat \$line\d+\.(\$eval|\$read\$?\.<)", line):
            hidden = True
        elif not line.startswith("\t"):
            hidden = False
        if hidden:
            continue
        line = re.sub(r"\$line\d+\.\$read(\$|iw)*\.(<init>)?", lambda m: "main" if m.group(2) else "", line)
        lines.append(line.replace("<console>", name))
    return "\n".join(lines) + "\n"
