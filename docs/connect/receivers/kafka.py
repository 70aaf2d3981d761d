#!/usr/bin/python3
"""Takes readings from Kafka into SQLite, each once: [[uplink.kafka]] with encoding = "json".

    kafka.py BROKER TOPIC DATABASE        (Debian: python3-confluent-kafka)
"""
import json, sqlite3, sys

from confluent_kafka import Consumer

broker, topic, database = sys.argv[1:]
db = sqlite3.connect(database)
db.execute("PRAGMA synchronous = FULL")
db.execute("""CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")


def rows(text):
    """The readings of a record: one, or a document with many."""
    doc = json.loads(text)
    for r in doc.get("readings", [doc]):
        yield (doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"],
               r.get("value", r.get("bytes")))


# An offset says what is in the database, so it is committed after that, by us.
consumer = Consumer({"bootstrap.servers": broker, "group.id": "readings", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "session.timeout.ms": 10000})
consumer.subscribe([topic])
while True:
    records = consumer.consume(500, timeout=1)
    good = [r for r in records if not r.error()]
    with db:  # one transaction; what is here already is ignored
        for record in good:
            db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(record.value()))
    if good:
        consumer.commit(asynchronous=False)
        print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
