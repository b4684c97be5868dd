-- What administrators set up of queues, groups of users, and users: weights and limits, as JSON.
CREATE TABLE accounts (
    kind TEXT NOT NULL CHECK (kind = 'queue' OR kind = 'group' OR kind = 'user'),
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What groups and users have used, written from time to time. A sum counts as of the beginning of its half-life.
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
