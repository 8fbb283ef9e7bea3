-- What an attempt's own processes have used: processor time, the peak of resident memory; JSON.
ALTER TABLE attempts ADD COLUMN usage TEXT;
