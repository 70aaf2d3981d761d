#!/usr/bin/python3
"""Takes readings from an MQTT broker into SQLite, each once: [[uplink.mqtt]] with encoding = "json".

    mqtt.py HOST:PORT TOPIC DATABASE [USER PASSWORD]        (Debian: python3-paho-mqtt)
"""
import json, sqlite3, sys
import paho.mqtt.client as mqtt

(host, port), topic, database = sys.argv[1].rsplit(":", 1), *sys.argv[2:4]
db = sqlite3.connect(database)
db.execute("PRAGMA synchronous = FULL")
db.execute("""CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")


def rows(text):
    """The readings of a message: one, or a document with many."""
    doc = json.loads(text)
    for r in doc.get("readings", [doc]):
        yield (doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"],
               r.get("value", r.get("bytes")))


def subscribe(client, *_):
    client.subscribe(topic, qos=1)


def take(client, _, message):
    with db:  # one transaction; what is here already is ignored
        db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(message.payload))
    print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
    # The library acknowledges when this returns, and only then.

# The broker keeps what comes while nobody is here: for this name, in a session that is not clean.
client = mqtt.Client(client_id="readings", clean_session=False)
client.on_connect, client.on_message, client.suppress_exceptions = subscribe, take, False
if len(sys.argv) > 4:
    client.username_pw_set(*sys.argv[4:6])
client.connect(host, int(port))
client.loop_forever()
