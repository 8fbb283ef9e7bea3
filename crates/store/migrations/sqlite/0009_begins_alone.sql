-- Until when a program of a deployment may be beginning that has to be the only one of its kind on its cluster; NULL when
-- none is.
ALTER TABLE deployments ADD COLUMN begins_alone_until BIGINT;
