"""The textbook's worker: ``celery -A mailwarren.baselines.textbook_tasks worker -c CORES+1``.

One task for each mail: render, a new SMTP connection, one row with a commit of its own; three retries, a minute apart,
as in Celery's tutorial. Celery's defaults: prefork, prefetch 4, acknowledged before the task runs, a classic queue.
So a worker that is killed loses the mail it was sending, and a mail whose row could not be written was sent all the
same. What is compiled or connected is made once in each process. To tune it further is welcome; to slow it is not.

Settings: ``TEXTBOOK_BROKER_URL``, ``TEXTBOOK_QUEUE``, ``TEXTBOOK_DATABASE_URL``, ``TEXTBOOK_SMTP`` (``host:port``),
``TEXTBOOK_TEMPLATES`` (see :class:`~.letter.Letter`) and ``TEXTBOOK_FROM``.
"""

import os
import smtplib
import socket
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import BigInteger, Column, DateTime, Engine, Identity, MetaData, Table, Text, create_engine, func

from mailwarren.baselines.letter import Letter

QUEUE = os.environ.get("TEXTBOOK_QUEUE", "textbook")

app = Celery("textbook", broker=os.environ.get("TEXTBOOK_BROKER_URL", "amqp://"))
# Names of its own, so that it can share a broker with other Celery apps.
app.conf.update(task_default_queue=QUEUE, control_exchange=f"{QUEUE}.control", event_exchange=f"{QUEUE}.events")

metadata = MetaData()
sent_mails = Table(
    "sent_mails",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("sent_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


@cache
def engine() -> Engine:
    """This process's connection pool: never made before the worker forks."""
    return create_engine(os.environ["TEXTBOOK_DATABASE_URL"])


@cache
def letter() -> Letter:
    """The templates, compiled."""
    return Letter(Path(os.environ["TEXTBOOK_TEMPLATES"]), os.environ["TEXTBOOK_FROM"])


@cache
def smtp_server() -> dict[str, Any]:
    """Arguments of ``smtplib.SMTP``; with this host's name, which it would otherwise look up for each connection."""
    host, _, port = os.environ["TEXTBOOK_SMTP"].rpartition(":")
    return {"host": host, "port": int(port), "timeout": 60, "local_hostname": socket.gethostname()}


@app.task(bind=True, max_retries=3)  # type: ignore[untyped-decorator]
def send_mail(self: Any, to: str, variables: dict[str, Any]) -> None:
    """Send one mail and write down that it was sent."""
    message = letter().addressed_to(to, variables)
    try:
        with smtplib.SMTP(**smtp_server()) as connection:
            connection.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise self.retry(exc=error, countdown=60) from error
    row = {"task_id": self.request.id, "message_id": message["Message-ID"], "recipient": to}
    with engine().begin() as transaction:
        transaction.execute(sent_mails.insert(), row)
