#!/bin/sh
# The three hottest days of the weather in /data: every day goes into a sorted set of the service `db`, and is asked back.
set -eu
cat /data/*.csv | awk -F, '$1 ~ /^[0-9]/ { print "ZADD days", $3, $1 }' | redis-cli -h db > /dev/null
redis-cli -h db ZREVRANGE days 0 2 WITHSCORES | paste - - | awk '{ printf "%s %.1f\n", $1, $2 }'
