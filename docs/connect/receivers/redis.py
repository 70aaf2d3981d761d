#!/usr/bin/python3
"""Takes readings from a Redis stream into SQLite, each once: [[uplink.redis]] with encoding = "json".

    redis.py redis://HOST:PORT/DB STREAM DATABASE        (Debian: python3-redis)
"""
import json, sqlite3, sys

sys.path.pop(0)  # where a file is that is called redis, too: this one
import redis

url, stream, database = sys.argv[1:]
db = sqlite3.connect(database)
db.execute("PRAGMA synchronous = FULL")
db.execute("""CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")

def rows(text):  # the readings of a message, one or many; none of what no gateway has sent
    try:
        doc = json.loads(text)
        return [(doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"],
                 r.get("value", r.get("bytes"))) for r in doc.get("readings", [doc])]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        return print("left out:", repr(e), file=sys.stderr) or []

server = redis.from_url(url)
try:
    server.xgroup_create(stream, "readings", id="0", mkstream=True)
except redis.ResponseError:  # the group is there already
    pass
start = "0"  # first what an earlier run was given and has not acknowledged, then what is new
while True:
    found = server.xreadgroup("readings", "one", {stream: start}, count=500, block=1000)
    entries = found[0][1] if found else []
    with db:  # one transaction; what is here already is ignored
        for _, fields in entries:
            db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows((fields or {}).get(b"body", b"")))
    if entries:
        server.xack(stream, "readings", *[number for number, _ in entries])
    print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
    start = start if entries else ">"
