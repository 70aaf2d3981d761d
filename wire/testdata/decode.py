#!/usr/bin/env python3
"""Decode tidegate blocks and chunks: decode.py FILE...

Written from FORMAT.md alone, with the standard library alone, to show that the
document is enough; the section numbers below are its own. Prints a line of JSON
for each file: what is in it, in the form of the golden vectors, or why it was
refused. Compressed bodies need the zstd command or the zstandard module.
"""
import json
import math
import struct
import subprocess
import sys

MAX_READINGS, MAX_BODY, MAX_CHUNK = 1 << 16, 16 << 20, 64 << 20
MAX_BLOCK = MAX_BODY + 1024
LANES, CLOCKS = ["normal", "alarm", "bulk"], ["unsynced", "synced", "stepped"]
UNITS = [10**9, 10**6, 10**3, 1]


class Refused(Exception):
    """The frame is damaged ("corrupt") or of another version ("version")."""


def need(ok, why, error="corrupt"):
    if not ok:
        raise Refused(error, why)


def wrap(n):  # §1: sums wrap at 64 bits
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


class Reader:
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

    def count(self, limit=MAX_READINGS):  # of things that take a byte or more each
        return self.uv(min(limit, self.left()))

    def texts(self, n):
        need(n <= self.left(), "ends early")
        lengths = [self.uv(MAX_BODY) for _ in range(n)]
        return [self.bytes(length) for length in lengths]

    def names(self, limit):  # §4.1
        n = self.count(limit)
        shared = [self.uv(MAX_BODY) for _ in range(n)]
        rest, out, total = [self.uv(MAX_BODY) for _ in range(n)], [], 0
        for s, r in zip(shared, rest):
            before = out[-1] if out else b""
            total += s + r
            need(s <= len(before) and total <= MAX_BODY, "a name shares more than there is")
            out.append(before[:s] + self.bytes(r))
        return out


def crc32c(data, table=[]):
    if not table:
        for c in range(256):
            for _ in range(8):
                c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
            table.append(c)
    crc = 0xFFFFFFFF
    for b in data:
        crc = table[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frame(data, magic, limit):  # §2
    need(len(data) >= 12 and data[:2] == magic, "no " + magic.decode())
    crc, length = struct.unpack("<II", data[4:12])
    need(12 <= length <= min(limit, len(data)), "length")
    need(crc == crc32c(data[:4] + data[8:length]), "checksum")
    need(data[2] == 1, f"version {data[2]}", "version")
    return data[3], Reader(data[12:length]), data[length:]


def chunk(data):  # §8
    flags, r, rest = frame(data, b"tC", MAX_CHUNK)
    need(not rest, "bytes follow the chunk")
    need(r.uv() == 0 and flags == 0, "refers to an earlier chunk", "version")
    gateway, n, blocks = r.bytes(r.uv(255)), r.count(), []
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
    need(flags < 0x40 and flags >> 2 & 3 < 3, "reserved flags", "version")
    need(flags & 3 < 3, "lane 3")
    epoch, boot, first, count, length = r.fixed("Q"), r.fixed("I"), r.uv(), r.uv(MAX_READINGS), r.uv(MAX_BODY)
    base, span, uptime = r.sv(), r.sv(), r.sv()
    need(first and count and span >= 0 and first + count <= 1 << 64 and base + span < 1 << 63, "header")
    data = r.bytes(r.left())
    if flags & 0x10:
        data = inflate(data, length)
    need(len(data) == length, "body length")
    head = {"epoch": str(epoch), "lane": LANES[flags & 3], "first": str(first), "count": count, "boot": boot,
            "clock": CLOCKS[flags >> 2 & 3], "base": str(base), "span": str(span), "uptime": str(uptime),
            "packed": bool(flags & 0x10)}
    return {**head, **body(Reader(data), count, base, span, bool(flags & 0x20))}, after


def inflate(data, length):
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except ImportError:
        run = subprocess.run(["zstd", "-dcq", "--memory=16MB"], input=data, capture_output=True)
        need(run.returncode == 0, "zstd: " + run.stderr.decode().strip())
        return run.stdout


def body(r, count, base, span, merged):  # §4
    devices, metrics, units = r.names(count), r.names(count), [b""] 
    units += r.names(count)
    fields = [(m, units[r.uv(len(units) - 1)]) for m in metrics]
    shapes = [[r.uv(len(fields) - 1) for _ in range(r.count(1024))] for _ in range(r.count(count))]
    need(all(shapes), "a shape without fields")

    n, device, groups = r.count(count), 0, []
    for _ in range(n):
        device += r.uv(1)
        need(device < len(devices), "no such device")
        groups.append([devices[device]])
    for g in groups:
        g.append(r.uv(len(shapes) - 1))
    sizes = [r.uv(count) for _ in groups]
    need(all(sizes) and sum(k * len(shapes[g[1]]) for k, g in zip(sizes, groups)) == count, "sizes of the groups")
    need({g[1] for g in groups} == set(range(len(shapes))), "a shape that no group has")
    heads = [i == 0 for k in sizes for i in range(k)]
    rows = [g for k, g in zip(sizes, groups) for _ in range(k)]  # device and shape of each

    out, order = {}, range(len(rows))
    if merged:
        order, out["parts"] = read_parts(r, count, heads, [len(shapes[s]) for _, s in rows])
    unit, times = read_times(r, heads, base, span)
    flags = [r.fixed("B")] * len(rows) if r.uv(1) == 0 else list(r.bytes(len(rows)))
    values, tags = [[] for _ in rows], []
    for s, shape in enumerate(shapes):
        members = [i for i, row in enumerate(rows) if row[1] == s]
        for _ in shape:
            tags.append(r.fixed("B"))
            for i, v in zip(members, column(r, tags[-1], [heads[i] for i in members])):
                values[i].append(v)
    need(r.left() == 0, "bytes follow the last column")
    readings = [{"device": text(rows[i][0]), "metric": text(fields[f][0]), "unit": text(fields[f][1]),
                 "time": str(times[i]), "flags": flags[i], "value": v}
                for i in order for f, v in zip(shapes[rows[i][1]], values[i])]  # §6
    return {**out, "time_unit": unit, "tags": tags, "readings": readings}


def read_parts(r, count, heads, widths):  # §4.4
    n = r.uv(count)
    sizes, held, part, of = [r.uv(count) for _ in range(n)], [0] * n, 0, []
    for head, width in zip(heads, widths):
        part = r.uv() + (0 if head else part)
        need(part < n, "no such part")
        of.append(part)
        held[part] += width
    need(held == sizes and all(sizes), "sizes of the parts")
    return sorted(range(len(of)), key=lambda i: of[i]), sizes  # sorted() keeps the order of equals


def read_times(r, heads, base, span):  # §4.5
    unit, times, head, last, delta = r.fixed("B"), [], 0, 0, 0
    need(unit < len(UNITS), f"time unit {unit}")
    for is_head in heads:
        d = r.sv()
        if is_head:
            head = last = wrap(head + d)
        else:
            delta = wrap(delta + d)
            last = wrap(last + delta)
        need(0 <= last and last * UNITS[unit] <= span, "a time outside the span")
        times.append(base + last * UNITS[unit])
    return unit, times


def column(r, tag, heads):  # §5
    n = len(heads)
    if tag in (0, 1):
        scale, i, exceptions = r.uv(15), 0, {}
        for _ in range(r.count(n)):
            i += r.uv(n - 1)
            need(i < n, "an exception after the last value")
            exceptions[i] = real(r.fixed("d"))
        decimals = [real(float(d) / float(10**scale)) for d in deltas(r, heads, tag == 1)]
        return [exceptions.get(i, v) for i, v in enumerate(decimals)]
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
        table = r.texts(r.count(n))
        return [{["string", "bytes"][tag - 8]: text(table[r.uv(len(table) - 1)])} for _ in range(n)]
    need(tag == 10, f"tag {tag}")
    return [mixed(r, kind) for kind in r.bytes(n)]


def deltas(r, heads, second):
    head = last = delta = 0
    for is_head in heads:
        d = r.sv()
        if is_head:
            head = last = wrap(head + d)
            delta = 0
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
    return {["string", "bytes"][kind - 3]: text(r.bytes(r.uv(MAX_BODY)))}


def real(f):  # §13
    return {"float": f"nan:{struct.unpack('<Q', struct.pack('<d', f))[0]:016x}" if math.isnan(f) else repr(f)}


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
            print(json.dumps(chunk(data)))
        else:
            one, rest = block(data)
            need(not rest, "bytes follow the block")
            print(json.dumps({"blocks": [one]}))
    except Refused as e:
        print(json.dumps({"error": e.args[0], "why": e.args[1]}))
