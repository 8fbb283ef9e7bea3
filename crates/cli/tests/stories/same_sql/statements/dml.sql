Rows are written.

--# Rows of values
INSERT INTO sales (item, amount, sold, region) VALUES
  ('pen', 1.50, DATE'2026-01-02', 'north'), ('ink', 12.00, DATE'2026-01-03', 'north'),
  ('pen', 1.60, DATE'2026-02-02', 'south'), ('cap', NULL, NULL, 'south')

--# Rows of a query into one partition
INSERT INTO sales PARTITION (region = 'west') SELECT concat('item ', id), id * 1.25, DATE'2026-03-01', NULL FROM range(3)

--# Columns by name, the rest by default
--- only in the drill
INSERT INTO described (id) VALUES (1), (2)

--# A default is put in
--- only in the drill
INSERT INTO described VALUES (3, DEFAULT), (4, 'somebody')

--# What is there
--- only in the drill
SELECT * FROM described ORDER BY id

--# Partitions
--- only in the drill
SHOW PARTITIONS sales

--# One partition is written anew
INSERT OVERWRITE sales PARTITION (region = 'west') SELECT 'all of it', 9.99, DATE'2026-03-31', 'sold out'

--# Rows that match are not replaced in parquet files
--- fails
--- only in the drill
INSERT INTO sales REPLACE WHERE region = 'south' SELECT 'new', 1.0, DATE'2026-01-01', NULL, 'south'

--# What was sold
SELECT * FROM sales ORDER BY region, item, amount

--# Tables for two inserts at once
--- only in the drill
CREATE TABLE small_numbers (id BIGINT) USING parquet

--# The other one
--- only in the drill
CREATE TABLE large_numbers (id BIGINT, square BIGINT) USING parquet

--# Two inserts at once
--- only in the drill
FROM numbers
INSERT INTO small_numbers SELECT id WHERE square < 10
INSERT OVERWRITE TABLE large_numbers SELECT id, square WHERE square >= 10

--# What came of two inserts
--- only in the drill
SELECT 'small' AS size, id, NULL AS square FROM small_numbers UNION ALL SELECT 'large', * FROM large_numbers ORDER BY id

--# An insert behind WITH
--- only in the drill
WITH more AS (SELECT max(id) + 1 AS next FROM small_numbers) INSERT INTO small_numbers SELECT next FROM more

--# Emptied
--- only in the drill
TRUNCATE TABLE large_numbers

--# It is empty
--- only in the drill
SELECT count(*) AS n FROM large_numbers

--# A directory is written
--- only in the drill
INSERT OVERWRITE DIRECTORY '{scratch}/written' USING json SELECT id, square FROM numbers WHERE id < 3

--# Files are read as a table
--- only in the drill
SELECT * FROM json.`{scratch}/written` ORDER BY id

--# Parquet files don't delete
--- fails
DELETE FROM sales WHERE item = 'pen'

--# Nor do they update
--- fails
--- only in the drill
UPDATE sales SET amount = 0 WHERE item = 'pen'

--# Nor do they merge
--- fails
--- only in the drill
MERGE INTO sales AS t USING numbers AS s ON t.item = s.id WHEN MATCHED THEN DELETE

--# Too many columns
--- fails
--- only in the drill
INSERT INTO small_numbers VALUES (1, 2)

--# Not a number
--- fails
INSERT INTO numbers VALUES ('seven', 7)

--# NULL where none may be
--- only in the drill
SELECT assert_true(id > 0) AS checked, id FROM described WHERE id IS NULL
