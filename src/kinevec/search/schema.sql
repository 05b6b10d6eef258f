CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Folders that videos were embedded from; no file outside them is ever given out.
CREATE TABLE roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);

CREATE TABLE videos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root INTEGER NOT NULL REFERENCES roots,
    path TEXT NOT NULL UNIQUE,  -- absolute
    name TEXT NOT NULL,         -- relative to what was embedded, '/'-separated
    size INTEGER NOT NULL,      -- bytes
    mtime_ns INTEGER NOT NULL,
    hash TEXT NOT NULL,         -- BLAKE2b of the content, 128 bits
    label TEXT, "group" TEXT, split TEXT,
    seconds REAL NOT NULL, fps REAL NOT NULL, frames INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
);
CREATE INDEX videos_hash ON videos (hash);
CREATE INDEX videos_name ON videos (name);

CREATE TABLE clips (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- stays; never used again for another clip
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    row INTEGER NOT NULL,                  -- in the files of vectors; changes when they are packed
    start REAL NOT NULL, stop REAL NOT NULL,  -- seconds from the video's first frame
    cluster INTEGER, x REAL, y REAL        -- by kinevec cluster
);
CREATE INDEX clips_video ON clips (video, start);

-- Files with the content of a video that is in the index already.
CREATE TABLE copies (
    path TEXT PRIMARY KEY, root INTEGER NOT NULL REFERENCES roots, name TEXT NOT NULL,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
);
CREATE INDEX copies_video ON copies (video);

CREATE TABLE rejected (path TEXT PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    reason TEXT NOT NULL);

-- What a person said of a part of a video.
CREATE TABLE labels (
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE, start REAL NOT NULL, stop REAL NOT NULL,
    label TEXT NOT NULL, PRIMARY KEY (video, start, stop)
);
