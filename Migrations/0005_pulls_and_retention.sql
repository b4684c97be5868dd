-- Which manifest of an index an attempt ran; how long a job's images are kept; what only a pull brought; what the
-- retention policy removed.

ALTER TABLE attempts ADD COLUMN image_manifest TEXT;

-- Null: always.
ALTER TABLE jobs ADD COLUMN keep TEXT CHECK (keep = 'on-success' OR keep = 'never');

-- It came with a job's image: when no configuration needs that any more, the repository loses it.
ALTER TABLE registry_manifests ADD COLUMN is_pulled INTEGER NOT NULL DEFAULT 0 CHECK (is_pulled = 0 OR is_pulled = 1);

CREATE TABLE log_removals (
    job INTEGER NOT NULL,
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    PRIMARY KEY (job, task, number)
) STRICT, WITHOUT ROWID;

-- Lists behind tree digests.
CREATE TABLE tree_removals (
    digest TEXT NOT NULL PRIMARY KEY,
    removed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
