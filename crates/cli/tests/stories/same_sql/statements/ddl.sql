Databases, tables, views and functions.

--# A table with partitions
CREATE TABLE IF NOT EXISTS sales (item STRING, amount DECIMAL(10, 2), sold DATE, region STRING)
USING parquet PARTITIONED BY (region) COMMENT 'what was sold' TBLPROPERTIES ('kept' = 'yes')

--# It is there already
--- fails
CREATE TABLE sales (item STRING) USING parquet

--# A table of a query
CREATE TABLE numbers USING parquet AS SELECT id, id * id AS square FROM range(0, 10, 1, 1)

--# Tables
--- only in the drill
SHOW TABLES LIKE 'numbers|sales|letters|described'

--# What a table is made of
--- only in the drill
DESCRIBE TABLE sales

--# Everything about a table
--- without: (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) .*|\btransient_lastDdlTime=\d+|\d+ bytes
DESCRIBE TABLE EXTENDED sales

--# A table's statement
--- only in the drill
SHOW CREATE TABLE sales

--# A column more
ALTER TABLE sales ADD COLUMNS (note STRING COMMENT 'whatever there is to say')

--# Columns
--- only in the drill
SHOW COLUMNS IN sales

--# Properties
--- only in the drill
ALTER TABLE sales SET TBLPROPERTIES ('kept' = 'no', 'also' = 'this')

--# Properties are listed
--- only in the drill
SHOW TBLPROPERTIES sales ('also')

--# Spark's tables don't drop columns
--- fails
--- only in the drill
ALTER TABLE sales DROP COLUMN note

--# A view
CREATE OR REPLACE VIEW evens AS SELECT id, square FROM numbers WHERE id % 2 = 0

--# A temporary view
--- only in the drill
CREATE TEMPORARY VIEW odds AS SELECT id, square FROM numbers WHERE id % 2 = 1

--# A global temporary view
--- only in the drill
CREATE OR REPLACE GLOBAL TEMPORARY VIEW threes AS SELECT id FROM numbers WHERE id % 3 = 0

--# Views of each sort
--- only in the drill
SELECT * FROM evens UNION ALL SELECT * FROM odds UNION ALL SELECT id, NULL FROM global_temp.threes ORDER BY id, square

--# Views are listed
SHOW VIEWS LIKE 'evens|odds'

--# A view can't be altered as a table
--- fails
--- only in the drill
ALTER TABLE evens RENAME TO even_numbers

--# A view gets another name
--- only in the drill
ALTER VIEW evens RENAME TO even_numbers

--# A function in SQL
CREATE FUNCTION area(width DOUBLE, height DOUBLE DEFAULT 1.0D) RETURNS DOUBLE COMMENT 'of a rectangle'
RETURN width * height

--# A function that gives a table
--- only in the drill
CREATE TEMPORARY FUNCTION upto(n INT) RETURNS TABLE (i INT, word STRING)
RETURN SELECT INT(id), repeat('x', INT(id)) FROM numbers WHERE id < n

--# A function is called
SELECT area(2, 3.5D) AS whole, area(4) AS by_default

--# A function that gives a table is called
--- only in the drill
SELECT count(*) AS n, max(word) AS longest FROM upto(5)

--# A function is described
--- only in the drill
DESCRIBE FUNCTION area

--# Functions are listed
--- only in the drill
SHOW USER FUNCTIONS LIKE 'a*'

--# Databases
--- only in the drill
SHOW DATABASES

--# A database is described
--- only in the drill
DESCRIBE DATABASE same_sql

--# A database gets a property
--- only in the drill
ALTER DATABASE same_sql SET DBPROPERTIES ('purpose' = 'a comparison')

--# A database with tables is not dropped
--- fails
DROP DATABASE same_sql

--# Statistics
--- only in the drill
ANALYZE TABLE numbers COMPUTE STATISTICS FOR ALL COLUMNS

--# Statistics are shown
--- only in the drill
DESCRIBE TABLE EXTENDED numbers square

--# A plan
--- without: #x?\d+L?|plan_id=\d+|file:\S+
EXPLAIN FORMATTED SELECT square, count(*) FROM numbers WHERE id > 3 GROUP BY square

--# A table is cached
CACHE TABLE kept AS SELECT id, square FROM numbers WHERE square > 10

--# A cached table is read
SELECT sum(square) AS total FROM kept

--# A cached table is let go
UNCACHE TABLE kept

--# A function is dropped
--- only in the drill
DROP FUNCTION area

--# A view is dropped
--- only in the drill
DROP VIEW even_numbers

--# It was dropped already
--- fails
--- only in the drill
DROP VIEW even_numbers

--# Nothing to drop
--- only in the drill
DROP VIEW IF EXISTS even_numbers
