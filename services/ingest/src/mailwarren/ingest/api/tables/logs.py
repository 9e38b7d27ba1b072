"""The endpoints of ``/v1/logs``."""

from mailwarren.ingest.api import logs
from mailwarren.ingest.api.answers.logs import LogFull, LogList
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint

ENDPOINTS = (
    Endpoint(
        "list_logs",
        path="/v1/logs",
        summary="List calls of the API, newest first",
        handler=logs.read_list,
        answer=LogList,
        query=PAGE,
        logged=False,
        description=(
            "A call is there about a second after its answer. Reading logs makes none; a process that answers more "
            "than 200 calls a second does not keep all of them."
        ),
        **READING,
    ),
    Endpoint(
        "read_log",
        path="/v1/logs/{id}",
        summary="Read a call of the API with its bodies",
        handler=logs.read,
        answer=LogFull,
        logged=False,
        **READING,
    ),
)
