-- Who this cluster is in what it exports. Made once, and never the same twice.
CREATE TABLE cluster (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL
) STRICT;

INSERT INTO cluster (id, origin) VALUES (1, lower(hex(randomblob(16))));

-- Jobs of other clusters that came with an import. They are records: nothing of them runs here.
CREATE TABLE imported_runs (
    -- Rises with the time at which the jobs of one import were submitted.
    id INTEGER NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL,
    job INTEGER NOT NULL,
    configuration TEXT NOT NULL REFERENCES configurations (digest),
    -- Of the job when it was exported: a later export replaces an earlier one.
    revision INTEGER NOT NULL,
    -- The job, its record and its data, as JSON.
    content TEXT NOT NULL,
    imported_at INTEGER NOT NULL,
    imported_by TEXT NOT NULL,
    UNIQUE (origin, job)
) STRICT;

CREATE INDEX imported_runs_by_configuration ON imported_runs (configuration, id);

-- Their attempts and logs: content of the archive, which they keep there.
CREATE TABLE imported_files (
    origin TEXT NOT NULL,
    job INTEGER NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (origin, job, path),
    FOREIGN KEY (origin, job) REFERENCES imported_runs (origin, job)
) STRICT, WITHOUT ROWID;
