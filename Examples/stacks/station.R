# The station with its yearly means, as GeoJSON in longitude and latitude and in UTM, and a table of days above a limit.
suppressMessages({
    library(data.table)
    library(sf)
})
paths <- sort(list.files("/data", pattern = "[.]csv$", recursive = TRUE, full.names = TRUE))
days <- rbindlist(lapply(paths, fread))
days[, year := substr(date, 1, 4)]
years <- days[, .(temp_max = mean(temp_max), precipitation = sum(precipitation), warm = sum(temp_max > 25)), by = year]
fwrite(years[order(year)], "/out/years.csv")

station <- st_sf(years, geometry = st_sfc(rep(list(st_point(c(-122.3088, 47.4447))), nrow(years)), crs = 4326))
st_write(station, "/out/station.geojson", quiet = TRUE)
utm <- st_transform(station, 32610)
write.csv(cbind(years, round(st_coordinates(utm), 6)), "/out/utm.csv", row.names = FALSE)
if ("--geopackage" %in% commandArgs(TRUE)) {
    # A GeoPackage holds when it was last changed: this is what makes a result differ from run to run.
    st_write(station, "/out/station.gpkg", quiet = TRUE)
}
cat(sprintf("days=%d years=%d warm=%d", nrow(days), nrow(years), sum(years$warm)), "\n", sep = "")
