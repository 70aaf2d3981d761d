#!/usr/bin/env python3
"""Decode tidegate blocks and chunks: decode.py FILE...

Written from FORMAT.md alone, with the standard library alone, to show that the
document is enough; § are its sections. Prints a line of JSON for each file: what
is in it, in the form of the golden vectors, or why it was refused; of a file of
chunks, one after the other, a line for each. Compressed bodies need the zstd
command.
"""
import json, math, struct, subprocess, sys

MAX_READINGS, MAX_BODY, MAX_BLOCK, MAX_CHUNK = 1 << 16, 16 << 20, (16 << 20) + 1024, 64 << 20
LANES, CLOCKS = ["normal", "alarm", "bulk"], ["unsynced", "synced", "stepped"]
UNITS = [10**9, 10**6, 10**3, 1]

class Refused(Exception):
    """The frame is damaged ("corrupt"), of another version ("version"), or needs what is not there ("unable")."""

def need(ok, why, error="corrupt"):
    if not ok:
        raise Refused(error, why)

def wrap(n):  # §1: sums wrap at 64 bits
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)

class Reader:  # §1
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, n):
        need(n <= self.left(), "ends early")
        self.at += n
        return self.data[self.at - n:self.at]

    def fixed(self, fmt):
        return struct.unpack("<" + fmt, self.bytes(struct.calcsize(fmt)))[0]

    def uv(self, limit=(1 << 64) - 1):
        n = 0
        for i in range(10):
            b = self.fixed("B")
            n |= (b & 0x7F) << 7 * i
            if b < 0x80:
                need(n <= limit, f"{n} where at most {limit} may be")
                return n
        raise Refused("corrupt", "varint without an end")

    def sv(self):
        n = self.uv()
        return n >> 1 ^ -(n & 1)

    def uvs(self, n, limit):  # each takes a byte or more
        need(n <= self.left(), "ends early")
        return [self.uv(limit) for _ in range(n)]

    def texts(self, n):
        return [self.bytes(length) for length in self.uvs(n, MAX_BODY)]

    def names(self, limit):  # §4.1
        n = self.uv(limit)
        shared, rest, names = self.uvs(n, MAX_BODY), self.uvs(n, MAX_BODY), []
        need(sum(shared + rest) <= MAX_BODY, "names too long")
        for s, k in zip(shared, rest):
            before = names[-1] if names else b""
            need(s <= len(before), "a name shares more than there is")
            names.append(before[:s] + self.bytes(k))
        return names

def crc32c(data):  # §2
    crc = 0xFFFFFFFF
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

def frame(data, magic, limit):  # §2
    need(len(data) >= 12 and data[:2] == magic, "magic")
    crc, length = struct.unpack("<II", data[4:12])
    need(12 <= length <= min(limit, len(data)), "length")
    need(crc == crc32c(data[:4] + data[8:length]), "checksum")
    need(data[2] == 1, f"version {data[2]}", "version")
    return data[3], Reader(data[12:length]), data[length:]

def chunk(data):  # §8
    flags, r, rest = frame(data, b"tC", MAX_CHUNK)
    need(not rest, "bytes follow the chunk")
    need(r.uv() == 0 and flags == 0, "refers to an earlier chunk", "version")
    gateway, n, blocks = r.bytes(r.uv(255)), r.uv(1 << 16), []
    rest = r.bytes(r.left())
    for _ in range(n):
        b, rest = block(rest)
        blocks.append(b)
    need(gateway and blocks and not rest, "chunk header")
    for a, b in zip(blocks, blocks[1:]):
        follows = int(b["first"]) >= int(a["first"]) + a["count"]
        need(follows and (a["epoch"], a["lane"]) == (b["epoch"], b["lane"]), "blocks do not follow one another")
    return {"gateway": text(gateway), "blocks": blocks}

def block(data):  # §3
    flags, r, after = frame(data, b"tB", MAX_BLOCK)
    lane, clock, packed, merged = flags & 3, flags >> 2 & 3, bool(flags & 0x10), bool(flags & 0x20)
    need(flags < 0x40 and clock < 3, "reserved flags", "version")
    epoch, boot, first, count, length = r.fixed("Q"), r.fixed("I"), r.uv(), r.uv(MAX_READINGS), r.uv(MAX_BODY)
    base, span, uptime = r.sv(), r.sv(), r.sv()
    need(lane < 3 and first and count and first + count <= 1 << 64 and 0 <= span < (1 << 63) - base, "header")
    data = r.bytes(r.left())
    data = inflate(data) if packed else data
    need(len(data) == length, "body length")
    return {"epoch": str(epoch), "lane": LANES[lane], "first": str(first), "count": count, "boot": boot,
            "clock": CLOCKS[clock], "base": str(base), "span": str(span), "uptime": str(uptime), "packed": packed,
            **body(Reader(data), count, base, span, merged)}, after

def inflate(data):
    try:
        run = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True)
    except FileNotFoundError:
        raise Refused("unable", "a compressed body: install the package zstd")
    need(run.returncode == 0, "zstd: " + run.stderr.decode())
    return run.stdout

def body(r, count, base, span, merged):  # §4
    devices, metrics, units = r.names(count), r.names(count), [b""] + r.names(count)
    fields = [(m, units[u]) for m, u in zip(metrics, r.uvs(len(metrics), len(units) - 1))]
    shapes = [r.uvs(r.uv(1024), len(fields) - 1) for _ in range(r.uv(count))]
    n, device, groups = r.uv(count), 0, []
    for step in r.uvs(n, 1):
        device += step
        need(device < len(devices), "no such device")
        groups.append(devices[device])
    groups = list(zip(groups, r.uvs(n, len(shapes) - 1), r.uvs(n, count)))  # device, shape, rows
    need(all(shapes) and all(k for _, _, k in groups), "an empty shape or group")
    need(sum(k * len(shapes[s]) for _, s, k in groups) == count, "number of readings")
    need({s for _, s, _ in groups} == set(range(len(shapes))), "a shape that no group has")
    rows = [(d, s) for d, s, k in groups for _ in range(k)]
    heads = [i == 0 for _, _, k in groups for i in range(k)]

    order, parts = read_parts(r, count, heads, [len(shapes[s]) for _, s in rows]) if merged else (range(len(rows)), {})
    unit, times = read_times(r, heads, base, span)
    mode = r.fixed("B")
    need(mode < 2, f"mode {mode} of flags")
    flags = r.bytes(len(rows)) if mode else r.bytes(1) * len(rows)
    values, tags = [[] for _ in rows], []
    for s, shape in enumerate(shapes):
        members = [i for i, row in enumerate(rows) if row[1] == s]
        for _ in shape:
            tags.append(r.fixed("B"))
            for i, v in zip(members, column(r, tags[-1], [heads[i] for i in members])):
                values[i].append(v)
    need(r.left() == 0, "bytes follow the last column")
    return {**parts, "time_unit": unit, "tags": tags, "readings": [  # §6
        {"device": text(rows[i][0]), "metric": text(fields[f][0]), "unit": text(fields[f][1]),
         "time": str(times[i]), "flags": flags[i], "value": v}
        for i in order for f, v in zip(shapes[rows[i][1]], values[i])]}

def read_parts(r, count, heads, widths):  # §4.4
    n, part, of = r.uv(count), 0, []
    sizes, held = r.uvs(n, count), [0] * n
    for head, width in zip(heads, widths):
        part = r.uv(n) + (0 if head else part)
        need(part < n, "no such part")
        of.append(part)
        held[part] += width
    need(held == sizes and all(sizes), "sizes of the parts")
    return sorted(range(len(of)), key=lambda i: of[i]), {"parts": sizes}  # sorted() keeps the order of equals

def read_times(r, heads, base, span):  # §4.5
    unit, times, head, last, delta = r.fixed("B"), [], 0, 0, 0
    need(unit < len(UNITS), f"time unit {unit}")
    for is_head in heads:
        d = r.sv()
        head, delta = (wrap(head + d), delta) if is_head else (head, wrap(delta + d))
        last = head if is_head else wrap(last + delta)
        need(0 <= last * UNITS[unit] <= span, "a time outside the span")
        times.append(base + last * UNITS[unit])
    return unit, times

def column(r, tag, heads):  # §5
    n = len(heads)
    if tag in (0, 1):
        scale, i, exceptions = r.uv(15), 0, {}
        for _ in range(r.uv(n)):
            i += r.uv(n)
            need(i < n, "an exception after the last value")
            exceptions[i] = r.fixed("d")
        decimals = [float(d) / float(10**scale) for d in deltas(r, heads, tag == 1)]
        return [real(exceptions.get(i, f)) for i, f in enumerate(decimals)]
    if tag == 2:
        return xor(r, n)
    if tag in (3, 4):
        return [{"int": str(d)} for d in deltas(r, heads, tag == 4)]
    if tag == 5:
        packed = r.bytes((n + 7) // 8)
        return [{"bool": bool(packed[i // 8] >> i % 8 & 1)} for i in range(n)]
    if tag in (6, 7):
        return [{["string", "bytes"][tag - 6]: text(t)} for t in r.texts(n)]
    if tag in (8, 9):
        table = r.texts(r.uv(n))
        return [{["string", "bytes"][tag - 8]: text(table[i])} for i in r.uvs(n, len(table) - 1)]
    need(tag == 10, f"tag {tag}")
    return [mixed(r, kind) for kind in r.bytes(n)]

def deltas(r, heads, second):
    head = last = delta = 0
    for is_head in heads:
        d = r.sv()
        if is_head:
            head, last, delta = wrap(head + d), wrap(head + d), 0
        else:
            delta = wrap(delta + d) if second else d
            last = wrap(last + delta)
        yield last

def xor(r, n):
    bits, out = 0, []
    for _ in range(n):
        lead, size = divmod(r.fixed("B"), 16)
        need(lead + size <= 8, "more than eight bytes of a float")
        bits ^= int.from_bytes(r.bytes(size), "big") << 8 * (8 - lead - size)
        out.append(real(struct.unpack("<d", struct.pack("<Q", bits))[0]))
    return out

def mixed(r, kind):
    need(kind < 5, f"kind {kind}")
    if kind == 0:
        return real(r.fixed("d"))
    if kind == 1:
        return {"int": str(r.sv())}
    if kind == 2:
        return {"bool": r.uv(1) == 1}
    return {["string", "bytes"][kind - 3]: text(r.bytes(r.uv()))}

def real(f):  # §13
    return {"float": "nan:" + struct.pack(">d", f).hex() if math.isnan(f) else repr(f)}

def text(b):
    try:
        return b.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": b.hex()}

for path in sys.argv[1:]:
    with open(path, "rb") as f:
        data = f.read()
    try:
        if data[:2] == b"tC":
            while data:
                n = int.from_bytes(data[8:12], "little")
                n = n if data[n:n + 2] == b"tC" else len(data)
                one, data = data[:n], data[n:]
                print(json.dumps(chunk(one)))
        else:
            one, rest = block(data)
            need(not rest, "bytes follow the block")
            print(json.dumps({"blocks": [one]}))
    except Refused as e:
        print(json.dumps({"error": e.args[0], "why": e.args[1]}))
