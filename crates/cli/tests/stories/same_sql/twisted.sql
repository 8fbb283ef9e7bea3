Each statement differs between the two sides, and the comparison has to see it.

--# A value
SELECT {{1|2}} AS n

--# The type of a whole number
--- only in the drill
SELECT {{1|1L}} AS n

--# A name
--- only in the drill
SELECT 1 AS {{n|m}}

--# Whether there may be NULL
--- only in the drill
SELECT {{1|nullif(1, 2)}} AS n

--# The order of rows
SELECT id FROM range(3) ORDER BY id {{ASC|DESC}}

--# A row more
--- only in the drill
SELECT id FROM range({{3|4}})

--# The sign of zero
SELECT double('{{0.0|-0.0}}') AS d

--# NULL and a text
--- only in the drill
SELECT {{CAST(NULL AS STRING)|'null'}} AS s

--# A value in the depth
SELECT map(1, array(named_struct('a', '{{x|y}}'))) AS m

--# The order of a map
--- only in the drill
SELECT {{map('a', 1, 'b', 2)|map('b', 2, 'a', 1)}} AS m

--# Digits of a decimal
--- only in the drill
SELECT {{1.50BD|CAST(1.5 AS DECIMAL(2, 1))}} AS d

--# A variant's number
--- only in the drill
SELECT parse_json('{{1|1.0}}') AS v

--# An interval
--- only in the drill
SELECT INTERVAL '{{1|2}}' MONTH AS i

--# An error here, rows there
--- only in the drill
SELECT 1 / {{0|1}} AS n

--# Errors of two kinds
SELECT {{1 / 0|CAST('x' AS INT)}} AS n
