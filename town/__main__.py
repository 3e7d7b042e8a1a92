"""Write the archive: python -m town [FILE]."""

from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import shapely
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from runners.maps.corridor import MAX_ZOOM, Tile, corridor, mercator
from runners.races.demo import CENTRE, demo_points
from runners.simulation.town import ARCHIVE
from runners.units.earth import METRES_PER_DEGREE
from town.plan import Feature, features

EXTENT = 4096
# Around a tile, so that lines do not end at its edge.
BUFFER = 64
# Details smaller than this are left out, in units of the extent.
TOLERANCE = 3


def main(path: Path) -> None:
    x, y = mercator(*CENTRE)
    # A metre, as a part of the world.
    metre = 1 / (METRES_PER_DEGREE * 360 * math.cos(math.radians(CENTRE[0])))
    placed = [
        feature._replace(
            shape=shapely.transform(
                feature.shape, lambda metres: metres * (metre, -metre) + (x, y)
            )
        )
        for feature in features()
    ]
    with path.open("wb") as file:
        writer = Writer(file)
        for tile in sorted(
            corridor(demo_points(), MAX_ZOOM), key=lambda tile: zxy_to_tileid(*tile)
        ):
            body = encode(tile, placed)
            if body:
                writer.write_tile(zxy_to_tileid(*tile), gzip.compress(body, 9, mtime=0))
        writer.finalize(
            {
                "tile_type": TileType.MVT,
                "tile_compression": Compression.GZIP,
                **{f"{end}_lon_e7": int(CENTRE[1] * 1e7) for end in ("min", "max")},
                **{f"{end}_lat_e7": int(CENTRE[0] * 1e7) for end in ("min", "max")},
                "center_zoom": MAX_ZOOM,
                "center_lon_e7": int(CENTRE[1] * 1e7),
                "center_lat_e7": int(CENTRE[0] * 1e7),
            },
            {"attribution": "Larkmere is a fictional town"},
        )
    print(f"{path}: {path.stat().st_size:,} bytes")


def encode(tile: Tile, placed: list[Feature]) -> bytes:
    """Return a tile, empty if nothing is in it."""
    side = 2**tile.z
    frame = shapely.box(-BUFFER, -BUFFER, EXTENT + BUFFER, EXTENT + BUFFER)
    layers: dict[str, list[dict[str, Any]]] = {}
    for feature in placed:
        if feature.min_zoom > tile.z:
            continue
        shape = shapely.transform(
            feature.shape,
            lambda place: (place * side - (tile.x, tile.y)) * EXTENT,
        )
        if not shape.intersects(frame):
            continue
        shape = shape.simplify(TOLERANCE).intersection(frame)
        if not shape.is_empty:
            layers.setdefault(feature.layer, []).append(
                {"geometry": shape, "properties": feature.properties}
            )
    if not layers:
        return b""
    encoded: bytes = mapbox_vector_tile.encode(
        [{"name": name, "features": of} for name, of in layers.items()],
        default_options={"y_coord_down": True, "extents": EXTENT},
    )
    return encoded


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ARCHIVE)
