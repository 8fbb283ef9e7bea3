#!/bin/sh
# Stands in for spark-submit: runs our own program with a plain Python, without a JVM. Everything else, and our
# program where it asks for it, goes to the real Spark.
real='@REAL@'
program='@PROGRAM@'
case " $* " in
  *" $program "*" spark "*) ;;
  *" $program "*)
    while [ "$1" != "$program" ]; do shift; done
    exec python3 -I -S "$@"
    ;;
esac
SPARK_HOME=$real
export SPARK_HOME
if [ -n '@SPARK_PYTHON@' ]; then
  PYSPARK_PYTHON='@SPARK_PYTHON@'
  PYSPARK_DRIVER_PYTHON='@SPARK_PYTHON@'
  export PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON
fi
exec "$real/bin/spark-submit" "$@"
