-- Reruns at times of the calendar. A run's job is found by its idempotency key, which holds the time that was due.
CREATE TABLE schedules (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    -- What was set up, as JSON.
    content TEXT NOT NULL,
    is_paused INTEGER NOT NULL CHECK (is_paused = 0 OR is_paused = 1),
    created_at INTEGER NOT NULL,
    -- Every run that was due by then was decided about.
    handled_until INTEGER NOT NULL,
    last_due INTEGER,
    last_job INTEGER,
    -- Why the last run that was due did not start.
    note TEXT
) STRICT, WITHOUT ROWID;
