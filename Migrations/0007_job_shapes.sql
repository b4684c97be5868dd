-- The jobs that a job still waits for: '41,42'. Which tasks of it are free follows from the rows of those.
ALTER TABLE jobs ADD COLUMN awaits TEXT NOT NULL DEFAULT '';

-- The first of the jobs that it was submitted together with.
ALTER TABLE jobs ADD COLUMN pipeline INTEGER;
CREATE INDEX jobs_by_pipeline ON jobs (pipeline, id) WHERE pipeline IS NOT NULL;

-- Why the scheduler cancelled a job, or tasks of it.
ALTER TABLE jobs ADD COLUMN cancel_reason TEXT;
