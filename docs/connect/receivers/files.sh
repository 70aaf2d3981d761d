#!/bin/sh
# Stores each reading of files once: sh files.sh readings.db north-*.ndjson* (also .gz and .zst), for an uplink with
# encoding = "ndjson". Debian: sqlite3, and zstd for .zst. Lines that are damaged are left out; files may come again.
set -eu
db=$1
shift
sqlite3 "$db" "CREATE TABLE IF NOT EXISTS reading (gateway, epoch, lane, seq INTEGER, device, metric, unit, time INTEGER, value, quality,
    PRIMARY KEY (gateway, epoch, lane, seq))"
for file; do
	case $file in
	*.gz) gzip -dc "$file" ;;
	*.zst) zstd -dcq "$file" ;;
	*) cat "$file" ;;
	esac
done | sqlite3 "$db" ".mode ascii" '.separator "\037" "\n"' "CREATE TEMP TABLE line (text)" ".import /dev/stdin line" \
	"CREATE TEMP VIEW said AS SELECT text AS t FROM line WHERE json_valid(text)" \
	"INSERT OR IGNORE INTO reading SELECT t->>'gateway', t->>'epoch', t->>'lane', t->>'seq', t->>'device', t->>'metric', t->>'unit', t->>'time',
	    coalesce(t->>'value', t->>'bytes'), t->>'quality' FROM said WHERE t->>'seq' IS NOT NULL"
