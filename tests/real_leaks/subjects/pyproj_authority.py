"""The authority of a coordinate system."""

import pyproj

WGS84 = pyproj.CRS.from_epsg(4326)


def work():
    WGS84.to_authority()
    WGS84.list_authority()
