Variables and scripts.

--# A variable
DECLARE OR REPLACE VARIABLE counted INT DEFAULT 5

--# A variable is set
SET VARIABLE counted = (SELECT max(id) FROM numbers) + counted

--# A variable is read
SELECT counted AS n, typeof(counted) AS kind

--# Text that is executed, with parameters
EXECUTE IMMEDIATE 'SELECT ? AS a, square FROM numbers WHERE id = ?' USING 'x', 2

--# Parameters of both kinds
--- fails
--- only in the drill
EXECUTE IMMEDIATE 'SELECT ? AS a, :named AS b' USING 'x', 2

--# Text that is executed, with named parameters
--- only in the drill
EXECUTE IMMEDIATE 'SELECT id, square + :more AS s FROM numbers WHERE id = :id' USING 3 AS id, 100 AS more

--# Text that is executed into a variable
--- only in the drill
EXECUTE IMMEDIATE 'SELECT square FROM numbers WHERE id = ?' INTO counted USING 7

--# What is in the variable
--- only in the drill
SELECT counted

--# A script
BEGIN
  DECLARE total INT DEFAULT 0;
  DECLARE i INT DEFAULT 1;
  WHILE i <= 10 DO
    IF i % 2 = 0 THEN
      SET total = total + i;
    END IF;
    SET i = i + 1;
  END WHILE;
  SELECT total AS total, i AS i;
END

--# A script with every loop
--- only in the drill
BEGIN
  DECLARE said STRING DEFAULT '';
  DECLARE n INT DEFAULT 0;
  outer_loop: LOOP
    SET n = n + 1;
    IF n = 2 THEN ITERATE outer_loop; END IF;
    IF n > 4 THEN LEAVE outer_loop; END IF;
    SET said = said || 'l' || n;
  END LOOP;
  REPEAT
    SET n = n - 1;
    SET said = said || 'r' || n;
  UNTIL n < 3 END REPEAT;
  FOR row AS SELECT id, square FROM numbers WHERE id < 3 ORDER BY id DO
    SET said = said || 'f' || row.square;
  END FOR;
  CASE WHEN n = 2 THEN SET said = said || '.'; ELSE SET said = said || '!'; END CASE;
  SELECT said;
END

--# A script that handles an error
BEGIN
  DECLARE caught STRING DEFAULT 'nothing';
  DECLARE EXIT HANDLER FOR DIVIDE_BY_ZERO
  BEGIN
    SELECT 'divided by zero' AS caught;
  END;
  SELECT 1 / 0;
  SELECT 'not reached' AS caught;
END

--# A script that writes
BEGIN
  CREATE TABLE script_made (n INT) USING parquet;
  INSERT INTO script_made VALUES (1), (2);
  INSERT INTO script_made SELECT n + 10 FROM script_made;
  SELECT sum(n) AS total FROM script_made;
END

--# A script that raises an error of its own
--- fails
BEGIN
  DECLARE mine CONDITION FOR SQLSTATE '45000';
  SIGNAL mine SET MESSAGE_TEXT = 'the till is empty';
END

--# A script whose error is not handled
--- fails
--- only in the drill
BEGIN
  SELECT CAST('abc' AS INT);
END

--# A variable is dropped
--- only in the drill
DROP TEMPORARY VARIABLE counted
