"""``GET /internal/blobs/{digest}`` and what :mod:`.keys` adds, for holders of the shared token.

Every caller is one of ours, so answers are short; a blob may be asked for by its digest alone.
"""

import hmac
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Response
from fastapi.responses import StreamingResponse

from mailwarren.ingest.adapters.blob_store import BlobsDown, BlobStore, NoSuchBlob
from mailwarren.ingest.metrics import record_blob_read

log = structlog.get_logger()

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


def make_internal_app(token: str, store: BlobStore | None, keys: APIRouter) -> FastAPI:
    """The application.

    Args:
        token: the bearer token of every call.
        store: where blobs are; None: there are none.
        keys: the route of signing keys.
    """

    async def known(authorization: Annotated[str, Header()] = "") -> None:
        # Bytes: compare_digest refuses text beyond ASCII.
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "unknown token")

    # No pages of its own: they would be there without a token.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(known)])

    app.include_router(keys)
    if store is not None:
        app.include_router(_blob_routes(store))
    return app


def _blob_routes(store: BlobStore) -> APIRouter:
    routes = APIRouter()

    @routes.get("/internal/blobs/{digest}")
    async def blob(digest: Digest, if_none_match: Annotated[str, Header()] = "") -> Response:
        tag = f'"{digest}"'
        if tag in if_none_match:
            return Response(status_code=304, headers={"ETag": tag})
        try:
            size, blocks = await store.read(digest)
        except NoSuchBlob as error:
            record_blob_read("missing")
            raise HTTPException(404, "no such blob") from error
        except BlobsDown as error:
            record_blob_read("failed")
            log.warning("ingest.blob.unreadable", digest=digest, error=str(error))
            raise HTTPException(503, "the blob store cannot be read now") from error
        record_blob_read("read")
        headers = {"ETag": tag, "Content-Length": str(size)}
        return StreamingResponse(cut_short(blocks, digest), headers=headers, media_type="application/octet-stream")

    return routes


async def cut_short(blocks: AsyncIterator[bytes], digest: str) -> AsyncIterator[bytes]:
    """The blocks; a store that fails in the middle ends them, and the receiver misses what the length promised."""
    try:
        async for block in blocks:
            yield block
    except BlobsDown as error:
        log.warning("ingest.blob.cut_short", digest=digest, error=str(error))
        raise
