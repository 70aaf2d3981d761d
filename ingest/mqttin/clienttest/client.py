"""A client of python3-paho-mqtt that does what it is told.

Called with a JSON object that says how to connect, it prints {"present": ...}
and then answers the commands on its standard input, a JSON object a line:
subscribe and publish, each with {"ok": true} once it has been acknowledged, and
leave. Messages that come in are printed as {"message": ...}.
"""

import json
import queue
import ssl
import sys
import threading
from urllib.parse import urlparse

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes

PATIENCE = 60  # seconds

how = json.loads(sys.argv[1])
v5 = how["version"] == 5
events = queue.Queue()
one_at_a_time = threading.Lock()


def say(what):
    with one_at_a_time:  # messages come in on a thread of their own
        print(json.dumps(what), flush=True)


def connected(client, userdata, flags, reason, properties=None):
    events.put(("connected", bool(flags["session present"]) if int(reason.value if v5 else reason) == 0 else None))


def on_message(client, userdata, m):
    say({"message": {"topic": m.topic, "payload": m.payload.decode(), "retain": bool(m.retain)}})


def wait(kind, mid=None):
    """Waits for the acknowledgement of a packet; a client may have several."""
    while True:
        got, value = events.get(timeout=PATIENCE)
        if got == kind and mid in (None, value):
            return value


url = urlparse(how["url"])
web = url.scheme == "ws"
options = {} if v5 else {"clean_session": how["clean"]}
client = mqtt.Client(
    client_id=how["id"],
    protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
    transport="websockets" if web else "tcp",
    **options,
)
client.on_connect = connected
client.on_message = on_message
client.on_publish = lambda c, u, mid: events.put(("published", mid))
client.on_subscribe = lambda c, u, mid, *granted: events.put(("subscribed", mid))
if web:
    client.ws_set_options(path=url.path)
if url.scheme == "tls":
    client.tls_set(how["ca"], cert_reqs=ssl.CERT_REQUIRED)
if how["will"]:
    client.will_set(how["will"], how["will_payload"], qos=1)
later = {}
if v5:
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 0 if how["clean"] else 300
    later = {"clean_start": how["clean"], "properties": lasting}
client.connect(url.hostname, url.port, 60, **later)
client.loop_start()
present = wait("connected")
if present is None:
    sys.exit("refused")
say({"present": present})

for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "subscribe":
        _, mid = client.subscribe(command["topic"], command["qos"])
        wait("subscribed", mid)
    elif command["do"] == "publish":
        info = client.publish(command["topic"], command["payload"], command["qos"], command["retain"])
        wait("published", info.mid)
    elif command["do"] == "leave":
        client.disconnect()
        client.loop_stop()
        break
    say({"ok": True})
