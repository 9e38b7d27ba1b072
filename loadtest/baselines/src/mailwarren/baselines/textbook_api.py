"""The textbook's API: ``uvicorn mailwarren.baselines.textbook_api:app``. Takes a mail and calls ``delay()``.

The functions are plain ``def`` because ``delay()`` blocks: FastAPI runs them in its threads. Celery keeps the
connections to the broker open and waits for no confirm, so a broker that dies takes along what it had not stored.
The settings are those of :mod:`.textbook_tasks`. To tune it is welcome; to slow it is not.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from mailwarren.baselines.textbook_tasks import engine, metadata, send_mail


class Mail(BaseModel):
    """To whom, and what the templates need."""

    to: str
    variables: dict[str, Any] = {}


class Accepted(BaseModel):
    """The task that will send it."""

    task_id: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Makes the table."""
    await run_in_threadpool(metadata.create_all, engine())
    yield


app = FastAPI(title="Textbook mailer", lifespan=lifespan)


@app.post("/send", status_code=202)
def send(mail: Mail) -> Accepted:
    """One mail."""
    return Accepted(task_id=send_mail.delay(mail.to, mail.variables).id)


@app.post("/send-bulk", status_code=202)
def send_bulk(mails: list[Mail]) -> list[Accepted]:
    """Many mails."""
    return [Accepted(task_id=send_mail.delay(mail.to, mail.variables).id) for mail in mails]
