-- How images were made, as those who made them said: one row a build, never changed.

CREATE TABLE image_builds (
    digest TEXT NOT NULL REFERENCES images (digest) ON DELETE CASCADE,
    recorded_at INTEGER NOT NULL,
    built_by TEXT NOT NULL,
    -- Dockerfile, digests of context and bases, tool: as JSON.
    record TEXT NOT NULL,
    PRIMARY KEY (digest, recorded_at, built_by)
) STRICT, WITHOUT ROWID;
