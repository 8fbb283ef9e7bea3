-- How a generation of a deployment fared: when it was last found well, and when it was last given up.
ALTER TABLE deployment_generations ADD COLUMN stable_at BIGINT;
ALTER TABLE deployment_generations ADD COLUMN given_up_at BIGINT;
