Nothing is left for the other side.

--# The global view goes
--- only in the drill
DROP VIEW global_temp.threes

--# The database goes with everything in it
DROP DATABASE same_sql CASCADE

--# Where we are then
SELECT current_database() AS here

--# What is left
--- only in the drill
SHOW DATABASES
