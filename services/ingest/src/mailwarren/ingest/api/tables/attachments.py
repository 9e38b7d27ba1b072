"""The endpoints of ``/v1/emails/{id}/attachments``."""

from mailwarren.ingest.api import attachments
from mailwarren.ingest.api.answers.attachments import AttachmentDeleted, AttachmentFull, AttachmentList
from mailwarren.ingest.api.endpoint import PAGE, READING, Endpoint

ENDPOINTS = (
    Endpoint(
        "list_attachments",
        path="/v1/emails/{id}/attachments",
        summary="List the attachments of an email",
        handler=attachments.read_list,
        answer=AttachmentList,
        query=PAGE,
        description="Without `limit` all of them. `download_url` needs no API key and holds for an hour.",
        **READING,
    ),
    Endpoint(
        "read_attachment",
        path="/v1/emails/{id}/attachments/{attachment_id}",
        summary="Read an attachment, with a link to download it",
        handler=attachments.read,
        answer=AttachmentFull,
        **READING,
    ),
    Endpoint(
        "delete_attachment",
        method="DELETE",
        path="/v1/emails/{id}/attachments/{attachment_id}",
        summary="Delete an attachment",
        handler=attachments.delete,
        answer=AttachmentDeleted,
        description=(
            "Ours. 422 while a delivery of the email has no end. The octets are deleted from the blob store by the "
            "next retention, unless another email has the same."
        ),
        errors=(401, 403, 404, 422, 503),
    ),
)
