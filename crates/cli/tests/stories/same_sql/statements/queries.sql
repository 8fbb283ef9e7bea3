Queries of every shape.

--# PIVOT
SELECT * FROM (SELECT region, item, amount FROM sales)
PIVOT (sum(amount) AS total, count(*) AS n FOR item IN ('pen' AS pens, 'ink' AS inks, 'new')) ORDER BY region

--# UNPIVOT
SELECT * FROM (SELECT 'a' AS k, 1 AS x, CAST(NULL AS INT) AS y, 3 AS z)
UNPIVOT INCLUDE NULLS (v FOR name IN (x, y AS why, z))

--# GROUPING SETS
SELECT region, item, sum(amount) AS total, grouping_id() AS level FROM sales
GROUP BY GROUPING SETS ((region, item), (region), ()) ORDER BY level, region, item

--# ROLLUP and HAVING
--- only in the drill
SELECT region, count(item) AS n FROM sales GROUP BY ROLLUP (region) HAVING n > 0 ORDER BY region NULLS LAST

--# Windows
SELECT id, square, sum(square) OVER running AS so_far, lag(square, 1, -1) OVER (ORDER BY id) AS before,
       ntile(3) OVER (ORDER BY id) AS third, rank() OVER (ORDER BY id % 4) AS place,
       last_value(id) OVER (PARTITION BY id % 2 ORDER BY id RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS near
FROM numbers WINDOW running AS (ORDER BY id ROWS UNBOUNDED PRECEDING) ORDER BY id

--# QUALIFY
--- only in the drill
SELECT region, item FROM sales QUALIFY row_number() OVER (PARTITION BY region ORDER BY item) = 1 ORDER BY region

--# LATERAL
SELECT n.id, l.part FROM numbers AS n, LATERAL (SELECT explode(sequence(1, n.id)) AS part) AS l
WHERE n.id < 4 ORDER BY id, part

--# LATERAL VIEW OUTER
--- only in the drill
SELECT id, at, item FROM VALUES (1, array('a', 'b')), (2, array()), (3, NULL) AS t(id, list)
LATERAL VIEW OUTER posexplode(list) AS at, item ORDER BY id, at

--# Joins of every sort
--- only in the drill
SELECT l.id AS l, r.id AS r FROM range(0, 4) AS l FULL JOIN range(2, 6) AS r ON l.id = r.id
UNION ALL SELECT id, NULL FROM range(4) LEFT ANTI JOIN range(2, 6) USING (id)
UNION ALL SELECT id, NULL FROM range(4) LEFT SEMI JOIN range(2, 6) USING (id) ORDER BY l, r

--# Subqueries that refer to their surroundings
--- only in the drill
SELECT id, (SELECT max(square) FROM numbers AS i WHERE i.id < o.id) AS below FROM numbers AS o
WHERE EXISTS (SELECT 1 FROM sales WHERE amount > o.id) AND id NOT IN (SELECT 2) ORDER BY id

--# Sets
--- only in the drill
(SELECT id FROM range(6) EXCEPT SELECT 2) INTERSECT ALL VALUES (1L), (2L), (3L), (3L) ORDER BY id

--# A recursive WITH
WITH RECURSIVE fibonacci (n, a, b) AS (
  SELECT 1, 0L, 1L UNION ALL SELECT n + 1, b, a + b FROM fibonacci WHERE n < 60
) SELECT n, a FROM fibonacci ORDER BY n

--# Pipes
FROM sales
|> WHERE amount IS NOT NULL
|> EXTEND amount * 2 AS twice
|> AGGREGATE sum(twice) AS total, count(*) AS n GROUP BY region
|> SET total = round(total, 1)
|> AS t
|> ORDER BY region DESC
|> LIMIT 2

--# Pipes of a table that join
--- only in the drill
TABLE numbers |> JOIN (SELECT 4L AS id, 'four' AS word) USING (id) |> SELECT word, square |> DROP square

--# Functions that give tables
--- only in the drill
SELECT * FROM explode(map('a', 1, 'b', 2)) UNION ALL SELECT col0, INT(col1) FROM stack(2, 'x', '3', 'y', '4')

--# Functions that call functions
--- only in the drill
SELECT transform(array(1, 2, 3), (x, i) -> x * i) AS t, aggregate(array(1, 2, 3), 0, (a, x) -> a + x) AS a,
       map_filter(map('a', 1, 'b', 2), (k, v) -> v > 1) AS f, zip_with(array(1), array('x'), (x, y) -> concat(x, y)) AS z

--# Functions of JSON, XML and CSV
--- only in the drill
SELECT from_json('{"a": [1, {"b": null}]}', 'a ARRAY<STRING>') AS json, to_json(named_struct('t', DATE'2026-01-31')) AS text,
       from_csv('1,x', 'a INT, b STRING') AS csv, from_xml('<r><a>1</a></r>', 'a INT') AS xml,
       parse_json('{"a": {"b": 7}}'):a.b::int AS path

--# Aggregates
SELECT avg(id) AS mean, stddev(id) AS deviation, percentile(id, array(0.25, 0.5)) AS percentiles, mode(id % 3) AS mode,
       collect_list(id) FILTER (WHERE id > 7) AS list, count_if(id > 5) AS some, max_by(id, -square) AS first,
       listagg(id, ',') WITHIN GROUP (ORDER BY id DESC) AS joined, histogram_numeric(id, 2) AS histogram,
       sum(amount) AS nothing
FROM numbers LEFT JOIN (SELECT 99 AS id, 1 AS amount) USING (id)

--# A sample with a seed, and a limit with an offset
--- only in the drill
SELECT id FROM (SELECT id FROM numbers TABLESAMPLE (60 PERCENT) REPEATABLE (7)) ORDER BY id LIMIT 5 OFFSET 2

--# Names are given as values
SELECT IDENTIFIER('squ' || 'are') AS s FROM IDENTIFIER('same_sql.' || 'numbers') WHERE id = 7

--# Hints and comments
SELECT /*+ BROADCAST(n), COALESCE(1) */ n.id -- the id
FROM numbers AS n /* nested /* comments */ are fine */ WHERE n.id = 3;

--# VALUES alone
--- only in the drill
VALUES (1, 'a'), (2, NULL)

--# Settings are read
--- only in the drill
SET spark.sql.ansi.enabled

--# Settings are changed
SET spark.sql.ansi.enabled = false

--# Without ANSI an overflow is NULL or wraps
SELECT 1 / 0 AS by_nought, CAST('x' AS INT) AS no_number, 2147483647 + 1 AS wrapped, array(1)[5] AS beyond

--# Settings are taken back
RESET spark.sql.ansi.enabled

--# Another time zone
SET TIME ZONE 'America/New_York'

--# Timestamps in another time zone
SELECT TIMESTAMP'2026-07-01 12:00:00' AS at, CAST(TIMESTAMP'2026-07-01 12:00:00Z' AS STRING) AS text,
       date_trunc('DAY', TIMESTAMP'2026-07-01 02:00:00Z') AS day, current_timezone() AS zone

--# The time zone of the others
SET TIME ZONE 'UTC'
