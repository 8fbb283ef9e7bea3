Values of every type, with the ends of its range, and NULL.

--# Whole numbers
SELECT * FROM VALUES
  (CAST(-128 AS TINYINT), CAST(-32768 AS SMALLINT), INT(-2147483648), -9223372036854775807L - 1L),
  (127Y, 32767S, 2147483647, 9223372036854775807L),
  (0Y, 0S, 0, 9007199254740992L),
  (1Y, 1S, 1, 9007199254740993L),
  (-1Y, -1S, -1, -9007199254740993L),
  (NULL, NULL, NULL, NULL)
AS whole(tiny, small, usual, big)

--# Decimals of every width
SELECT CAST(1.50 AS DECIMAL(10, 2)) AS usual,
       CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)) AS widest,
       CAST('-0.00000000000000000000000000000000000001' AS DECIMAL(38, 38)) AS least,
       CAST('-12345678901234567890.123456789012345678' AS DECIMAL(38, 18)) AS split,
       CAST(0 AS DECIMAL(5, 5)) AS nought, 0BD AS small_nought, -1.10BD AS literal,
       CAST(NULL AS DECIMAL(3, 1)) AS nothing

--# Floats and doubles with what is no number, both zeros, and the ends of the range
SELECT * FROM VALUES
  (1, FLOAT(0.1), 0.1D), (2, FLOAT('NaN'), DOUBLE('NaN')), (3, FLOAT('Infinity'), DOUBLE('Infinity')),
  (4, FLOAT('-Infinity'), DOUBLE('-Infinity')), (5, FLOAT('-0.0'), DOUBLE('-0.0')), (6, FLOAT(0), 0D),
  (7, FLOAT('3.4028235E38'), 1.7976931348623157E308D), (8, FLOAT('1.4E-45'), 4.9E-324D),
  (9, FLOAT(16777217), 9007199254740993D), (10, FLOAT(1e16), 1e16D), (11, FLOAT(1e-7), 123456789.123456789D),
  (12, NULL, NULL)
AS fraction(n, f, d) ORDER BY n

--# Texts: empty, quotes, control characters, NUL, every plane of Unicode
SELECT * FROM VALUES
  (1, ''), (2, 'plain'), (3, 'say "hi" \\ it''s'), (4, 'tab\tline\nreturn\r'), (5, concat('nul', char(0), 'inside')),
  (6, 'Köln 東京 🦀'), (7, 'e\u0301 is not é'), (8, '\u2028\u200f\ufeff'), (9, concat(char(1), char(31), char(127))),
  (10, repeat('x', 5000)), (11, ' spaces '), (12, 'NULL'), (13, 'null'), (14, NULL)
AS texts(n, s) ORDER BY n

--# Collations
SELECT collate('ä', 'UNICODE_CI') AS german, 'x' COLLATE UTF8_LCASE = 'X' AS equal,
       array('a' COLLATE UTF8_LCASE) AS list, map('k' COLLATE UTF8_LCASE, 'v' COLLATE UNICODE) AS pairs,
       named_struct('f', 'a' COLLATE UTF8_LCASE) AS inside, collation('x') AS usual

--# A table with CHAR and VARCHAR
--- only in the drill
CREATE TABLE letters (c CHAR(5), v VARCHAR(5), l ARRAY<CHAR(2)>) USING parquet

--# CHAR is padded
--- only in the drill
INSERT INTO letters VALUES ('ab', 'ab', array('x', NULL)), (NULL, NULL, NULL), ('', '', array())

--# CHAR and VARCHAR
--- only in the drill
SELECT c, length(c) AS c_long, v, length(v) AS v_long, l FROM letters ORDER BY v NULLS FIRST

--# Too long for VARCHAR
--- fails
--- only in the drill
INSERT INTO letters VALUES ('ab', 'abcdef', NULL)

--# Binary
--- only in the drill
SELECT X'' AS none, X'00FF10' AS some, CAST('Köln' AS BINARY) AS text, unhex(repeat('7F80', 100)) AS long,
       CAST(NULL AS BINARY) AS nothing

--# Booleans and the type of nothing
SELECT true AS yes, false AS no, CAST(NULL AS BOOLEAN) AS unknown, NULL AS nothing, array(NULL) AS no_values,
       map('k', NULL) AS no_value, named_struct('a', NULL) AS no_field

--# Nothing in arrays and maps of nothing
--- only in the drill
--- only as JSON: PySpark's toArrow refuses a void that can't be NULL
SELECT array() AS no_items, map() AS no_pairs, named_struct('empty', array()) AS hollow

--# Dates from the year 1 to 9999
SELECT * FROM VALUES
  (DATE'0001-01-01'), (DATE'1582-10-04'), (DATE'1582-10-15'), (DATE'1969-12-31'), (DATE'1970-01-01'),
  (DATE'2000-02-29'), (DATE'9999-12-31'), (NULL)
AS days(day)

--# Timestamps from the year 1 to 9999
SELECT * FROM VALUES
  (1, TIMESTAMP'0001-01-01 00:00:00Z', TIMESTAMP_NTZ'0001-01-01 00:00:00'),
  (2, TIMESTAMP'1969-12-31 23:59:59.999999Z', TIMESTAMP_NTZ'1969-12-31 23:59:59.999999'),
  (3, TIMESTAMP'1970-01-01 00:00:00Z', TIMESTAMP_NTZ'1970-01-01 00:00:00'),
  (4, TIMESTAMP'2026-03-29 02:30:00.5 Europe/Berlin', TIMESTAMP_NTZ'2026-03-29 02:30:00.5'),
  (5, TIMESTAMP'2026-01-31 08:00:00.120+05:30', TIMESTAMP_NTZ'2026-01-31 08:00:00.12'),
  (6, TIMESTAMP'9999-12-31 23:59:59.999999Z', TIMESTAMP_NTZ'9999-12-31 23:59:59.999999'),
  (7, NULL, NULL)
AS moments(n, at, local) ORDER BY n

--# Times beyond the years that most programs know
SELECT DATE'-0044-03-15' AS ides, DATE'+12026-01-31' AS far, DATE'0000-01-01' AS nought,
       TIMESTAMP'-0044-03-15 12:00:00Z' AS noon, TIMESTAMP'+294247-01-10 04:00:54.775807Z' AS last,
       TIMESTAMP_NTZ'-290308-12-21 19:59:05.224192' AS first, array(DATE'+10000-01-01', NULL) AS list

--# The time of day is off by default
--- fails
SELECT TIME'12:34:56.789' AS t

--# The time of day is switched on
SET spark.sql.timeType.enabled = true

--# The time of day
SELECT TIME'00:00:00' AS first, TIME'23:59:59.999999' AS last, TIME'12:30:00.5' AS half,
       CAST('08:15:30.123' AS TIME(3)) AS millis, CAST(NULL AS TIME) AS nothing, array(TIME'01:02:03') AS list

--# Intervals of years and months
SELECT INTERVAL '1-2' YEAR TO MONTH AS both, INTERVAL -'1-2' YEAR TO MONTH AS minus, INTERVAL '3' YEAR AS years,
       INTERVAL '14' MONTH AS months, INTERVAL '-178956970-8' YEAR TO MONTH AS least, array(INTERVAL '1' MONTH) AS list

--# Intervals of days and times
SELECT INTERVAL '1 02:03:04.5' DAY TO SECOND AS whole, INTERVAL -'1 02:03:04.000001' DAY TO SECOND AS minus,
       INTERVAL '2' DAY AS days, INTERVAL '1 02' DAY TO HOUR AS hours, INTERVAL '26:03' HOUR TO MINUTE AS clock,
       INTERVAL '93784.5' SECOND AS seconds, INTERVAL '59' MINUTE AS minutes,
       INTERVAL '-106751991 04:00:54.775808' DAY TO SECOND AS least,
       DATE'2026-03-01' - DATE'2026-02-01' AS between, CAST(NULL AS INTERVAL DAY) AS nothing,
       map(INTERVAL '1' DAY, INTERVAL '1' YEAR) AS pairs, named_struct('i', INTERVAL '0' SECOND) AS inside

--# Calendar intervals
SELECT make_interval(1, 2, 3, 4, 5, 6, 7.000008) AS all, make_interval(0, -1, 0, 0, 0, 0, -0.5) AS minus,
       make_interval() AS none, make_interval(0, 0, 0, 400) AS days, array(make_interval(1)) AS list

--# Arrays, maps and structs in each other
SELECT array(array(1, NULL), NULL, array()) AS lists,
       map('a', array(named_struct('x', 1, 'y', 'z')), 'b', NULL) AS map_of_lists,
       named_struct('outer', named_struct('inner', map('k', array(1.5D, double('NaN'))))) AS deep,
       array(map('z', 1, 'a', 2, 'm', 3)) AS in_order, CAST(NULL AS STRUCT<a: INT>) AS nothing,
       array(named_struct('n', CAST(1 AS DECIMAL(38, 2)))) AS exact

--# Maps with keys that are no texts
SELECT map(10, 'ten', 9, 'nine', -1, NULL) AS whole, map(9007199254740993L, 1) AS big, map(1.50BD, 1) AS exact,
       map(1.5D, 'x', double('NaN'), 'y') AS half, map(true, 1, false, 0) AS flags, map(DATE'2026-01-31', 1) AS days,
       map(TIMESTAMP'2026-01-31 08:00:00Z', 1) AS moments, map(X'00FF', 1) AS bytes,
       map(named_struct('a', 1, 'b', 'x"y'), 2) AS structs, map(FLOAT(0.1), 1Y) AS small, map('', 'empty') AS texts

--# A map with keys that are lists
--- only in the drill
--- only as Arrow: PySpark's collect refuses such keys
SELECT map(array(1, 2), 3, array(), 4) AS lists, map(named_struct('k', array('x')), 1) AS structs

--# Rows of nested values, some of them NULL
-- PySpark's toArrow refuses a struct that is NULL when one of its fields can't be: hence nullif.
SELECT id, IF(id % 3 = 0, NULL, sequence(1, id)) AS list,
       IF(id % 4 = 0, NULL, map_from_entries(transform(sequence(1, id), i -> struct(i * 10, repeat('x', i))))) AS pairs,
       IF(id % 5 = 0, NULL, named_struct('id', nullif(id, 0), 'half', id / 2, 'none', IF(id % 2 = 0, NULL, 'odd'))) AS both
FROM (SELECT INT(id) AS id FROM range(1, 13)) ORDER BY id

--# Variants
SELECT parse_json('{"b": [1, 2.50, "x", null, true], "a": {"deep": {"er": []}}, "": {}}') AS object,
       parse_json('12345678901234567890') AS beyond, parse_json('9007199254740993') AS big, parse_json('1e3') AS power,
       parse_json('[8.00719925474099, 8.007199254740993, -0.5]') AS long,
       parse_json('"text"') AS text, CAST(DATE'2026-01-31' AS VARIANT) AS day,
       CAST(TIMESTAMP'2026-01-31 08:00:00.5Z' AS VARIANT) AS at, CAST(X'00FF' AS VARIANT) AS bytes,
       CAST(1.10BD AS VARIANT) AS exact, array(parse_json('[1]'), parse_json('"x"')) AS list,
       to_variant_object(named_struct('x', 1, 'y', array('z'))) AS made

--# Variants that are NULL, or JSON's null
--- only as JSON: PySpark's toArrow refuses a variant that is NULL
SELECT CAST(NULL AS VARIANT) AS nothing, parse_json('null') AS null_in_json, array(parse_json('1'), NULL) AS list

--# Points on a plane and on the earth
SELECT ST_GeomFromWKB(X'0101000000000000000000F03F0000000000000040') AS plane,
       ST_GeogFromWKB(X'0101000000000000000000F03F0000000000000040') AS earth,
       array(ST_GeomFromWKB(X'010100000000000000000014400000000000001440')) AS list

--# Names that are there twice
SELECT 1 AS a, 2 AS a, 3 AS A, 4 AS a_2, named_struct('x', 1, 'X', 2) AS s

--# Names that need care
SELECT 1 AS `with.dot`, 2 AS `back``tick`, 3 AS `quote"`, 4 AS ``, 5 AS `Ünïcode 🦀`, 1 + 1, 'text', 1.5D

--# No rows
--- only in the drill
SELECT id, CAST(NULL AS ARRAY<INT>) AS list FROM range(0)

--# No columns
SELECT * EXCEPT (a) FROM VALUES (1), (2) AS t(a)

--# Columns with a comment and a default
--- only in the drill
CREATE TABLE described (id INT NOT NULL COMMENT 'the first', name STRING DEFAULT 'nobody') USING parquet

--# Comments and defaults are in the schema
--- only in the drill
SELECT * FROM described

--# More rows than one page of a result
SELECT id, id % 7 AS seven, hash(id) AS h, IF(id % 11 = 0, NULL, concat('n', id)) AS name FROM range(12000) ORDER BY id
