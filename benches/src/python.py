"""A bare, warm PySpark Connect process: a session and a small job for each line of its standard input."""

import os
import sys
import time

from pyspark.sql.connect.session import SparkSession

print("ready", flush=True)
for _ in sys.stdin:
    began = time.monotonic()
    spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).create()
    assert spark.range(10).count() == 10
    took = time.monotonic() - began
    spark.stop()
    print(took, flush=True)
