"""The endpoints of ``/v1/contacts/imports``."""

from mailwarren.ingest.api import imports
from mailwarren.ingest.api.answers.imports import ImportList, ImportMade, ImportPreview, ImportShown
from mailwarren.ingest.api.endpoint import CSV, FORM, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.imports.request import FIELDS, ImportForm

_PATH = "/v1/contacts/imports"
_FIELDS = (*FIELDS, "filename")
_UPLOADING = (400, 401, 403, 404, 413, 422, 503)

ENDPOINTS = (
    Endpoint(
        "create_contact_import",
        path=_PATH,
        summary="Import contacts from a CSV file",
        handler=imports.create,
        request=ImportForm,
        takes=FORM,
        answer=ImportMade,
        query=_FIELDS,
        description=(
            "As a form, or with the file as the body (`text/csv`) and the fields in the query. Workers import it: read"
            " the import to see how far it is. A wrong encoding, a file without rows and a line longer than 1 MB are"
            " refused; what is wrong with a row is in its report. A tenant's files are imported one after the other."
        ),
        **MAKING,
    ),
    Endpoint(
        "preview_contact_import",
        method="POST",
        path=f"{_PATH}/preview",
        summary="See what an import would make of a file",
        handler=imports.preview,
        request=ImportForm,
        takes=FORM,
        answer=ImportPreview,
        query=_FIELDS,
        description="Ours. Nothing is kept; the beginning of the file is enough.",
        errors=_UPLOADING,
    ),
    Endpoint(
        "list_contact_imports",
        path=_PATH,
        summary="List imports, newest first",
        handler=imports.read_list,
        answer=ImportList,
        query=("status", *PAGE),
        **READING,
    ),
    Endpoint(
        "read_contact_import",
        path=f"{_PATH}/{{id}}",
        summary="Read how far an import is",
        handler=imports.read,
        answer=ImportShown,
        **READING,
    ),
    Endpoint(
        "cancel_contact_import",
        method="POST",
        path=f"{_PATH}/{{id}}/cancel",
        summary="Stop an import",
        handler=imports.cancel,
        answer=ImportShown,
        description="Ours. What was imported stays.",
        errors=(401, 403, 404, 422, 503),
    ),
    Endpoint(
        "read_contact_import_errors",
        path=f"{_PATH}/{{id}}/errors",
        summary="Download the rows that failed",
        handler=imports.read_errors,
        answer=str,
        gives=CSV,
        description=(
            "Ours. CSV with the number, the line and the error before the row's own cells, the first 100,000 of them."
            " Mended, it can be imported like any file. Cells that a spreadsheet would carry out as formulas have an"
            " apostrophe before them, which an import of this file takes away."
        ),
        **READING,
    ),
)
