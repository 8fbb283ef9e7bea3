The place where all lists work.

--# A database
CREATE DATABASE same_sql COMMENT 'statements on both sides'

--# It is used
USE same_sql

--# Small tables need few tasks
SET spark.sql.shuffle.partitions = 2
