#!/bin/sh
# Mean of the daily maximum temperature (°C) and total precipitation (mm) of every station in /data.
# Input: one CSV a station, with the header date,precipitation,temp_max,temp_min,wind,weather.
set -eu
for file in /data/*.csv; do
    station=$(basename "$file" .csv)
    awk -F, -v station="$station" '
        NR > 1 { precipitation += $2; warmest += $3; days += 1 }
        END {
            if (days == 0) { print "no days in " FILENAME > "/dev/stderr"; exit 1 }
            printf "station=%s days=%d mean_temp_max=%.4f total_precipitation=%.1f\n",
                station, days, warmest / days, precipitation
        }' "$file"
done > /out/yearly.txt
cat /out/yearly.txt
