-- The time limit that a job was given since it was submitted, in milliseconds; then the record's counts no more.
ALTER TABLE jobs ADD COLUMN time_limit INTEGER CHECK (time_limit > 0);
