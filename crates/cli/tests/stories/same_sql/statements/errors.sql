Errors have Spark's own class and text.

--# Not SQL
--- fails
SELEC 1

--# Nothing at all
--- fails
-- a comment only

--# A bracket is missing
--- fails
--- only in the drill
SELECT (1 + 2 FROM numbers

--# Two statements
--- fails
--- only in the drill
SELECT 1; SELECT 2

--# No such table
--- fails
SELECT * FROM no_such_table

--# No such column, and what is like it
--- fails
--- without: #\d+L?
SELECT squar FROM numbers

--# No such function
--- fails
--- only in the drill
SELECT no_such_function(1)

--# An ambiguous name
--- fails
--- only in the drill
SELECT id FROM numbers AS a JOIN numbers AS b ON a.id = b.id

--# Types that don't go together
--- fails
--- only in the drill
SELECT array(1) + 'x'

--# A column that is not grouped
--- fails
--- only in the drill
--- without: #\d+L?
SELECT id, count(*) FROM numbers GROUP BY square

--# Division by zero
--- fails
SELECT 1 / (id - 3) AS n FROM numbers

--# Overflow
--- fails
--- only in the drill
SELECT 2147483647 + 1

--# A decimal that does not fit
--- fails
--- only in the drill
SELECT CAST(12345.678 AS DECIMAL(5, 2))

--# A cast that fails in the middle of a table
--- fails
SELECT CAST(IF(id = 7, 'seven', id) AS INT) FROM numbers

--# A date that is none
--- fails
--- only in the drill
SELECT DATE'2026-02-30'

--# Beyond the end of an array
--- fails
--- only in the drill
SELECT array(1, 2)[id] FROM numbers WHERE id = 2

--# An error that is raised
--- fails
SELECT raise_error(concat('row "', id, '"\nwith ', repeat('many ', 700), 'words')) FROM numbers WHERE id = 2

--# More than one row
--- fails
--- only in the drill
SELECT (SELECT id FROM numbers) AS one

--# No variable of that name
--- fails
--- only in the drill
SET VARIABLE no_such_variable = 1

--# Recursion without end
--- fails
--- only in the drill
WITH RECURSIVE forever (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM forever) SELECT max(n) FROM forever
