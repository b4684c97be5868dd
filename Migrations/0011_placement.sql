-- Licenses of the cluster: how many there are. Who holds them follows from the live attempts.
CREATE TABLE licenses (
    name TEXT NOT NULL PRIMARY KEY,
    total INTEGER NOT NULL CHECK (total >= 0)
) STRICT, WITHOUT ROWID;

-- Workers that are kept from a date on, as JSON.
CREATE TABLE reservations (
    name TEXT NOT NULL PRIMARY KEY,
    content TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Why a worker is drained, and until when what runs may go on, as JSON.
ALTER TABLE workers ADD COLUMN drain TEXT;
