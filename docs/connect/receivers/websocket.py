"""Stores each reading once: python3 websocket.py readings.db 8440 TOKEN (behind a proxy with TLS), for an uplink with
url = "wss://…/", encoding = "json" and token_file with TOKEN in it. Debian: python3-websockets (10 or later)."""
import asyncio, hmac, http, json, sqlite3, sys
import websockets

PATH, PORT, TOKEN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LARGEST = 8 << 20
DB = sqlite3.connect(PATH)
DB.execute("PRAGMA synchronous = FULL")
DB.execute("""CREATE TABLE IF NOT EXISTS reading (gateway, epoch, lane, seq, device, metric, unit, time, value, quality,
    PRIMARY KEY (gateway, epoch, lane, seq))""")

async def shake(path, headers):
    if not hmac.compare_digest(headers.get("Authorization", ""), "Bearer " + TOKEN):
        return http.HTTPStatus.UNAUTHORIZED, [], b"wrong token"

async def receive(socket):
    async for message in socket:
        head, _, body = message.partition(b"\n")  # media type, key; then the body
        _, epoch, lane, numbers = head.decode().rsplit("/", 3)
        first, last = map(int, numbers.split("-"))
        about = {"epoch": epoch, "lane": lane, "first": first, "last": last}
        try:
            doc = json.loads(body)
            key = doc["gateway"], doc["epoch"], doc["lane"]
            rows = [key + (r["seq"], r["device"], r["metric"], r.get("unit"), r["time"], r.get("value", r.get("bytes")), r["quality"])
                    for r in doc["readings"]]
        except (ValueError, KeyError, TypeError) as e:  # for good: the gateway finds the block and sets it aside
            await socket.send(json.dumps({"refused": {**about, "class": "permanent", "reason": repr(e)}}))
            continue
        with DB:  # a transaction: the answer comes after its end
            DB.executemany("INSERT OR IGNORE INTO reading VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        await socket.send(json.dumps({"acked": about}))

async def main():
    async with websockets.serve(receive, "127.0.0.1", PORT, subprotocols=["tidegate.v1"], process_request=shake,
                                max_size=LARGEST, extra_headers={"Tidegate-Max-Body": str(LARGEST - 1024)}):
        await asyncio.Future()

asyncio.run(main())
