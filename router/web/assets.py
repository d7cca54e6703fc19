"""The page's own files, read once at start and served from memory with an ETag."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from aiohttp import web

from router.web.answers import SAFE_HEADERS

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


class Asset(msgspec.Struct, frozen=True):
    body: bytes
    mime: str
    etag: str


def load_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Every file of the page by its URL path."""
    return {f"/{path.name}": _load(path) for path in sorted(folder.iterdir()) if path.suffix in TYPES}


def _load(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def pick(assets: dict[str, Asset], path: str) -> Asset | None:
    """The file for a path. Paths that name no file show the page itself (SPEC 7.2), except below `/api`."""
    if path in assets:
        return assets[path]
    name = path.rpartition("/")[2]
    is_page = "." not in name and path.split("/")[1] not in ("api", "v1")
    return assets["/index.html"] if is_page else None


def serve(asset: Asset, known: str) -> web.Response:
    """The file, or 304 when the browser's copy (`known`, its If-None-Match) is the same."""
    headers = {**SAFE_HEADERS, "ETag": asset.etag, "Cache-Control": "no-cache"}
    if asset.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.mime, charset="utf-8", headers=headers)
