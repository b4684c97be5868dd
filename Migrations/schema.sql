-- The schema after all migrations. Written by a test: UPDATE_GOLDEN=1 swift test --filter StoreTests

CREATE TABLE account_usage (
    kind TEXT NOT NULL CHECK (kind = 'group' OR kind = 'user'),
    name TEXT NOT NULL,
    -- Thousandths of processors times seconds.
    amount INTEGER NOT NULL CHECK (amount >= 0),
    -- The number of the half-life.
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    -- How long the scheduler had run by then, over all its lives, in milliseconds.
    time INTEGER NOT NULL CHECK (time >= 0),
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounting (
    day INTEGER NOT NULL,
    user TEXT NOT NULL,
    user_group TEXT NOT NULL,
    queue TEXT NOT NULL,
    configuration TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    cpu_time INTEGER NOT NULL,
    used_cpu_time INTEGER NOT NULL,
    memory_time INTEGER NOT NULL,
    gpu_time INTEGER NOT NULL,
    run_time INTEGER NOT NULL,
    first_starts INTEGER NOT NULL,
    wait_time INTEGER NOT NULL,
    PRIMARY KEY (day, user, user_group, queue, configuration)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    kind TEXT NOT NULL CHECK (kind = 'queue' OR kind = 'group' OR kind = 'user'),
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    job INTEGER NOT NULL,
    task INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    worker TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state = 'assigned' OR state = 'preparing' OR state = 'running' OR state = 'ending'
            OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost'),
    reason TEXT,
    -- Identities, one a line.
    gpus TEXT NOT NULL,
    is_acknowledged INTEGER NOT NULL CHECK (is_acknowledged = 0 OR is_acknowledged = 1),
    is_accepted INTEGER NOT NULL CHECK (is_accepted = 0 OR is_accepted = 1),
    stop_reason TEXT,
    assigned_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- The newest report, as the worker sent it; all null before the first.
    report_sequence INTEGER,
    report_state TEXT,
    report_reason TEXT,
    exit_code INTEGER,
    signal INTEGER,
    message TEXT,
    engine TEXT,
    started_at INTEGER,
    finished_at INTEGER,
    cpu_seconds REAL,
    max_memory INTEGER,
    wall_seconds REAL,
    -- Tree digests by slot, as JSON.
    inputs TEXT,
    outputs TEXT, image_manifest TEXT,
    PRIMARY KEY (job, task, number),
    FOREIGN KEY (job, task) REFERENCES tasks (job, task),
    -- Every attempt that ended has a reason, and a success has the proof of its exit code.
    CHECK ((state = 'succeeded' OR state = 'failed' OR state = 'cancelled' OR state = 'lost') = (reason IS NOT NULL)),
    CHECK (state <> 'succeeded' OR exit_code = 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE cluster (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL
) STRICT;

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

CREATE TABLE configuration_versions (
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    digest TEXT NOT NULL REFERENCES configurations (digest),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, version),
    UNIQUE (name, digest)
) STRICT;

CREATE INDEX configuration_versions_by_digest ON configuration_versions (digest);

CREATE TABLE configurations (
    digest TEXT NOT NULL PRIMARY KEY,
    -- Canonical JSON (RFC 8785); its SHA-256 is the digest.
    content TEXT NOT NULL,
    image_reference TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE image_builds (
    digest TEXT NOT NULL REFERENCES images (digest) ON DELETE CASCADE,
    recorded_at INTEGER NOT NULL,
    built_by TEXT NOT NULL,
    -- Dockerfile, digests of context and bases, tool: as JSON.
    record TEXT NOT NULL,
    PRIMARY KEY (digest, recorded_at, built_by)
) STRICT, WITHOUT ROWID;

CREATE TABLE image_names (
    reference TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES images (digest)
) STRICT;

CREATE INDEX image_names_by_digest ON image_names (digest);

CREATE TABLE images (
    digest TEXT NOT NULL PRIMARY KEY,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    platforms TEXT NOT NULL,
    layers TEXT NOT NULL,
    is_complete INTEGER NOT NULL CHECK (is_complete = 0 OR is_complete = 1),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE imported_files (
    origin TEXT NOT NULL,
    job INTEGER NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    PRIMARY KEY (origin, job, path),
    FOREIGN KEY (origin, job) REFERENCES imported_runs (origin, job)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE jobs (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    configuration TEXT NOT NULL REFERENCES configurations (digest),
    -- What is fixed, as JSON.
    record TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state = 'pending' OR state = 'waiting' OR state = 'held' OR state = 'running'
            OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
    reason TEXT,
    tasks_total INTEGER NOT NULL CHECK (tasks_total >= 1),
    tasks_pending INTEGER NOT NULL CHECK (tasks_pending >= 0),
    tasks_running INTEGER NOT NULL CHECK (tasks_running >= 0),
    tasks_succeeded INTEGER NOT NULL CHECK (tasks_succeeded >= 0),
    tasks_failed INTEGER NOT NULL CHECK (tasks_failed >= 0),
    tasks_cancelled INTEGER NOT NULL CHECK (tasks_cancelled >= 0),
    -- The tasks that were never started: '1-100,205-300'.
    unstarted TEXT NOT NULL,
    is_held INTEGER NOT NULL CHECK (is_held = 0 OR is_held = 1),
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested = 0 OR cancel_requested = 1),
    image_is_stored INTEGER NOT NULL CHECK (image_is_stored = 0 OR image_is_stored = 1),
    submitted_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    revision INTEGER NOT NULL, keep TEXT CHECK (keep = 'on-success' OR keep = 'never'), awaits TEXT NOT NULL DEFAULT '', pipeline INTEGER, cancel_reason TEXT, compaction TEXT, compacted_at INTEGER, time_limit INTEGER CHECK (time_limit > 0),
    CHECK (tasks_total = tasks_pending + tasks_running + tasks_succeeded + tasks_failed + tasks_cancelled)
) STRICT;

CREATE INDEX jobs_by_configuration ON jobs (configuration, id);

CREATE INDEX jobs_by_name ON jobs (name, id);

CREATE INDEX jobs_by_owner ON jobs (owner, id);

CREATE INDEX jobs_by_pipeline ON jobs (pipeline, id) WHERE pipeline IS NOT NULL;

CREATE INDEX jobs_by_state ON jobs (state, id);

CREATE INDEX jobs_to_compact ON jobs (finished_at) WHERE finished_at IS NOT NULL AND compacted_at IS NULL;

CREATE TABLE licenses (
    name TEXT NOT NULL PRIMARY KEY,
    total INTEGER NOT NULL CHECK (total >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_removals (
    job INTEGER NOT NULL,
    task INTEGER NOT NULL,
    number INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    PRIMARY KEY (job, task, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    quarantined_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

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
    created_at INTEGER NOT NULL, is_pulled INTEGER NOT NULL DEFAULT 0 CHECK (is_pulled = 0 OR is_pulled = 1),
    PRIMARY KEY (repository, digest)
) STRICT;

CREATE INDEX registry_manifests_by_digest ON registry_manifests (digest);

CREATE INDEX registry_manifests_by_subject ON registry_manifests (repository, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE reservations (
    name TEXT NOT NULL PRIMARY KEY,
    content TEXT NOT NULL
) STRICT, WITHOUT ROWID;

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

CREATE TABLE tasks (
    job INTEGER NOT NULL REFERENCES jobs (id),
    task INTEGER NOT NULL CHECK (task >= 0),
    state TEXT NOT NULL
        CHECK (state = 'pending' OR state = 'running'
            OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
    reason TEXT,
    attempts INTEGER NOT NULL CHECK (attempts >= 1),
    program_failures INTEGER NOT NULL CHECK (program_failures >= 0),
    infrastructure_failures INTEGER NOT NULL CHECK (infrastructure_failures >= 0),
    PRIMARY KEY (job, task)
) STRICT, WITHOUT ROWID;

CREATE INDEX tasks_live ON tasks (job, task) WHERE state = 'pending' OR state = 'running';

CREATE TABLE totals (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    content TEXT NOT NULL
) STRICT;

CREATE TABLE tree_removals (
    digest TEXT NOT NULL PRIMARY KEY,
    removed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL CHECK (role = 'user' OR role = 'admin' OR role = 'worker'),
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    -- The SHA-256 of the token; the token itself is nowhere.
    token_hash TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE workers (
    name TEXT NOT NULL PRIMARY KEY,
    registration TEXT NOT NULL,
    is_draining INTEGER NOT NULL CHECK (is_draining = 0 OR is_draining = 1)
, drain TEXT) STRICT;
