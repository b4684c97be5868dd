-- What registry clients find in each repository. The bytes of a manifest are in the archive, its tags in image_names;
-- these rows say which repositories have it, and what the referrers API asks for.

CREATE TABLE registry_manifests (
    -- With its registry, as in image_names: 'docker.io/ada/stack'.
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    artifact_type TEXT,
    subject TEXT,
    -- A JSON object.
    annotations TEXT,
    -- Null for what was imported or pulled.
    pushed_by TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT;
CREATE INDEX registry_manifests_by_subject ON registry_manifests (repository, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX registry_manifests_by_digest ON registry_manifests (digest);

-- Images of earlier times. A reference is '<repository>:<tag>', with '@<digest>' behind it if it was pulled, or
-- '<repository>@<digest>': what lies before the '@' loses everything behind its last ':'.
INSERT OR IGNORE INTO registry_manifests (repository, digest, media_type, size, created_at)
SELECT CASE instr(named, ':') WHEN 0 THEN named
        ELSE substr(named, 1, length(rtrim(named, replace(named, ':', ''))) - 1) END,
    i.digest, i.media_type, 0, i.created_at
FROM (SELECT substr(reference, 1, instr(reference || '@', '@') - 1) AS named, digest FROM image_names) AS n
JOIN images i ON i.digest = n.digest;
