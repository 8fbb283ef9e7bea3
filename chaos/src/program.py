# A job of the chaos run: it leaves a mark when it starts and one when it ends, and ends as it was told.
import os
import sys
import time

marks, name, seconds, code, where = sys.argv[1:6]
token = os.environ["LIBRA_ATTEMPT_TOKEN"]


def mark(what):
    # One write to a file that is only appended to: marks of many jobs never mix.
    line = f"{name} {token} {os.getpid()} {time.time_ns() // 1000} {what}\n"
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


mark("start")
if where == "spark":
    from pyspark.sql import SparkSession

    SparkSession.builder.getOrCreate().range(1000).count()
time.sleep(float(seconds))
if code == "first-fails":
    code = "9" if os.environ["LIBRA_ATTEMPT"] == "1" else "0"
mark(f"end {code}")
sys.exit(int(code))
