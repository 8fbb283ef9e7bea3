-- What an attempt's own processes have used: processor time, the peak of resident memory; JSON.
ALTER TABLE attempts ADD COLUMN usage TEXT;
-- How often what was seen of it has been stored: a look that comes late must not undo a later one.
ALTER TABLE attempts ADD COLUMN looks BIGINT NOT NULL DEFAULT 0;
