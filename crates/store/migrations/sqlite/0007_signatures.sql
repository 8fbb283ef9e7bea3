-- Who has signed the program of a generation: the signature as it was written, and the id of its key.
ALTER TABLE deployment_generations ADD COLUMN signature TEXT;
ALTER TABLE deployment_generations ADD COLUMN signed_by TEXT;
