"""Reads tiles out of a PMTiles archive: a file, or an https address by ranges."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import escape, unescape
from pathlib import Path

from django.utils.html import strip_tags
from pmtiles.reader import MmapSource, Reader
from pmtiles.tile import Compression, SpecVersionUnsupported, TileType

from runners.maps.corridor import Tile
from runners.notifying.endpoints import (
    Endpoint,
    EndpointRefused,
    address_of,
    read_endpoint,
)

GetBytes = Callable[[int, int], bytes]

TIMEOUT_S = 15.0
# Limit of a read. A directory of a planet has less than 1 MiB, a tile rarely 0.5 MiB.
MAX_READ_BYTES = 4 * 1024 * 1024
MAX_TILE_BYTES = 1024 * 1024
ATTRIBUTION_LENGTH = 400
# Directories and tiles of an archive that are kept while it is open.
READS_KEPT = 64


class ArchiveError(Exception):
    """The archive cannot be read; the message gives the reason."""


class Archive:
    """An open archive of vector tiles."""

    def __init__(self, get_bytes: GetBytes) -> None:
        # For each tile, the library reads the header and directories again.
        self._reader = Reader(lru_cache(READS_KEPT)(get_bytes))
        with _readable():
            header = self._reader.header()
        self.max_zoom: int = header["max_zoom"]
        self._compression: Compression = header["tile_compression"]
        if header["tile_type"] != TileType.MVT:
            raise ArchiveError("The archive has no vector tiles (MVT).")
        if self._compression not in (Compression.GZIP, Compression.NONE):
            raise ArchiveError("The tiles of the archive are not compressed by gzip.")

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile, compressed by gzip, or None if there is none."""
        with _readable():
            body: bytes | None = self._reader.get(*tile)
        if body is None:
            return None
        if len(body) > MAX_TILE_BYTES:
            raise ArchiveError(f"The tile {tile.z}/{tile.x}/{tile.y} is too large.")
        if self._compression == Compression.NONE:
            body = gzip.compress(body, mtime=0)
        return body

    def attribution(self) -> str:
        """Return whose data it is, as HTML without tags."""
        with _readable():
            stated = self._reader.metadata().get("attribution")
        words = unescape(strip_tags(stated)) if isinstance(stated, str) else ""
        return escape(re.sub(r"\s+", " ", words).strip())[:ATTRIBUTION_LENGTH]


@contextmanager
def open_archive(source: str) -> Iterator[Archive]:
    """Open a file or an address; raises `ArchiveError`."""
    if "://" in source:
        remote = RemoteFile(source)
        try:
            yield Archive(remote.read)
        finally:
            remote.close()
        return
    try:
        with Path(source).open("rb") as file:
            with _readable():
                mapped = MmapSource(file)
            yield Archive(mapped)
    except OSError as error:
        raise ArchiveError(f"{source}: {error.strerror or error}.") from error


class RemoteFile:
    """A file on a web server, read by ranges over one connection at a time.

    Its address is checked like those that notifications are sent to: public, over TLS,
    without redirects, and the connection goes to the checked address.
    """

    def __init__(self, url: str) -> None:
        try:
            self._endpoint: Endpoint = read_endpoint(url)
        except EndpointRefused as error:
            raise ArchiveError(f"{url}: {error}") from None
        self._connection: http.client.HTTPConnection | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; raises `ArchiveError`."""
        if length > MAX_READ_BYTES:
            raise ArchiveError("A part of the archive is too large to be read.")
        try:
            return self._read(offset, length)
        except (ConnectionError, http.client.NotConnected):
            # The server may close a connection after some requests.
            self.close()
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        try:
            return self._read(offset, length)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, offset: int, length: int) -> bytes:
        if self._connection is None:
            self._connection = self._connect()
        wanted = f"bytes={offset}-{offset + length - 1}"
        self._connection.request(
            "GET", self._endpoint.target, headers={"Range": wanted}
        )
        response = self._connection.getresponse()
        if response.status != http.client.PARTIAL_CONTENT:
            self.close()
            raise ArchiveError(
                f"{self._endpoint.host} answered {response.status} instead of a range."
            )
        body = response.read(length + 1)
        if len(body) > length:
            self.close()
            raise ArchiveError(f"{self._endpoint.host} sent more than the range.")
        return body

    def _connect(self) -> http.client.HTTPConnection:
        endpoint = self._endpoint
        try:
            address = asyncio.run(address_of(endpoint))
        except EndpointRefused as error:
            raise ArchiveError(f"{endpoint.host}: {error}") from None
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
        # It must not connect again by name, to an address that was not checked.
        connection.auto_open = 0
        link = socket.create_connection((address, endpoint.port), TIMEOUT_S)
        connection.sock = (
            ssl.create_default_context().wrap_socket(
                link, server_hostname=endpoint.host
            )
            if endpoint.secure
            else link
        )
        return connection

    def _failed(self, error: Exception) -> ArchiveError:
        self.close()
        return ArchiveError(f"{self._endpoint.host} cannot be read: {error!r}.")


@contextmanager
def _readable() -> Iterator[None]:
    """Translate what the library raises for a file that is no archive."""
    try:
        yield
    except ArchiveError:
        raise
    except SpecVersionUnsupported as error:
        raise ArchiveError("The archive is not of version 3 of PMTiles.") from error
    except Exception as error:
        raise ArchiveError(f"This is not a PMTiles archive ({error!r}).") from error
