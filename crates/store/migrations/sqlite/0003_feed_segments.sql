-- Which row of the log has which number in the feed: rows of consecutive ids have consecutive numbers, so that a few
-- segments tell, and the log itself is only ever added to. The first one, of a row that never was, makes the others
-- alike.
CREATE TABLE feed_segments (
    first_seq BIGINT NOT NULL PRIMARY KEY,
    first_id  BIGINT NOT NULL,
    length    BIGINT NOT NULL
);
CREATE UNIQUE INDEX feed_segments_by_id ON feed_segments (first_id);
INSERT INTO feed_segments (first_seq, first_id, length) VALUES (0, 0, 1);
INSERT INTO feed_segments (first_seq, first_id, length)
SELECT MIN(feed_seq), MIN(id), COUNT(*) FROM (
    SELECT id, feed_seq, SUM(begins) OVER (ORDER BY id) AS segment FROM (
        SELECT id, feed_seq,
               CASE WHEN id = LAG(id) OVER (ORDER BY id) + 1 AND feed_seq = LAG(feed_seq) OVER (ORDER BY id) + 1
                    THEN 0 ELSE 1 END AS begins
        FROM transitions WHERE feed_seq IS NOT NULL) numbered) segmented
GROUP BY segment;
DROP INDEX transitions_unnumbered;
DROP INDEX transitions_by_feed_seq;
ALTER TABLE transitions DROP COLUMN feed_seq;
