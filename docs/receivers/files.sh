#!/bin/sh
# Stores each reading of files once: sh files.sh readings.db north-*.ndjson* (also .gz and .zst), for an uplink with
# encoding = "ndjson". Debian: sqlite3, jq, and zstd for .zst. Lines that are damaged are left out; files may come again.
set -eu
db=$1
shift
sqlite3 "$db" "CREATE TABLE IF NOT EXISTS reading (gateway, epoch, lane, seq INTEGER, device, metric, unit, time INTEGER, value NUMERIC, quality,
    PRIMARY KEY (gateway, epoch, lane, seq))"
for file; do
	case $file in
	*.gz) gzip -dc "$file" ;;
	*.zst) zstd -dcq "$file" ;;
	*) cat "$file" ;;
	esac
done | jq -rR 'fromjson? | [.gateway, .epoch, .lane, .seq, .device, .metric, .unit, .time, if has("bytes") then .bytes else .value end, .quality] | @csv' |
	sqlite3 "$db" ".mode csv" "CREATE TEMP TABLE line AS SELECT * FROM reading WHERE 0" ".import /dev/stdin line" \
		"INSERT OR IGNORE INTO reading SELECT * FROM line"
