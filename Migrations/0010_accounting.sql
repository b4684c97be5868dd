-- What was held and used, summed by the day on which attempts ended (UTC, days since 1970-01-01). Rows of tasks and attempts
-- may go; these stay. Times in milliseconds; memory in MiB times seconds.
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
