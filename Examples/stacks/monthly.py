# Means of each month, and the trend of the daily maximum over all that is in /data.
import glob
import sys

import numpy
import pandas

parts = [pandas.read_csv(path, parse_dates=["date"]) for path in sorted(glob.glob("/data/**/*.csv", recursive=True))]
days = pandas.concat(parts).sort_values("date", kind="stable")
months = days.groupby(days["date"].dt.strftime("%Y-%m"))[["temp_max", "temp_min", "wind"]].mean()
months["precipitation"] = days.groupby(days["date"].dt.strftime("%Y-%m"))["precipitation"].sum()
months.to_csv("/out/monthly.csv", float_format="%.6f")

since = (days["date"] - days["date"].iloc[0]).dt.days.to_numpy(dtype=float)
design = numpy.stack([numpy.ones_like(since), since, numpy.sin(since * 2 * numpy.pi / 365.25),
                      numpy.cos(since * 2 * numpy.pi / 365.25)], axis=1)
fit, *_ = numpy.linalg.lstsq(design, days["temp_max"].to_numpy(), rcond=None)
numpy.save("/out/fit.npy", fit)
if "--compress" in sys.argv:
    # gzip writes down when it was: this is what makes a result differ from run to run.
    months.to_csv("/out/monthly.csv.gz")
print(f"days={len(days)} months={len(months)} degrees_per_year={fit[1] * 365.25:.4f}")
