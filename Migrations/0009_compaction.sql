-- What is kept of the tasks and attempts of jobs that ended long ago, once the retention policy has summed them up.
CREATE TABLE compacted_tasks (
    job INTEGER NOT NULL REFERENCES jobs (id),
    -- Tasks that ended alike, from this one to the last.
    first INTEGER NOT NULL CHECK (first >= 0),
    last INTEGER NOT NULL CHECK (last >= first),
    state TEXT NOT NULL CHECK (state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
    reason TEXT,
    attempts INTEGER NOT NULL CHECK (attempts >= 1),
    PRIMARY KEY (job, first)
) STRICT, WITHOUT ROWID;

-- The sums over its attempts that have no rows any more, as JSON.
ALTER TABLE jobs ADD COLUMN compaction TEXT;
-- When all that could be summed up was.
ALTER TABLE jobs ADD COLUMN compacted_at INTEGER;
CREATE INDEX jobs_to_compact ON jobs (finished_at) WHERE finished_at IS NOT NULL AND compacted_at IS NULL;

-- Live attempts are found by their tasks: one index less to write for each attempt that starts and ends.
DROP INDEX attempts_live;
