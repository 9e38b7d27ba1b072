"""Answers of ``/v1/templates``."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from mailwarren.ingest.domain.templates import Scalar, VariableType

Status = Literal["draft", "published"]


class TemplateNamed(msgspec.Struct, frozen=True, kw_only=True):
    """A template was made, changed, published or copied: its id."""

    object: str = "template"
    id: UUID


class TemplateDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The template is gone. Mail that was accepted with it is sent."""

    object: str = "template"
    id: UUID
    deleted: bool = True


class VariableShown(msgspec.Struct, frozen=True, kw_only=True):
    """A declared variable."""

    key: str
    type: VariableType
    fallback_value: Scalar | None


class TemplateShort(msgspec.Struct, frozen=True, kw_only=True):
    """A template in a list."""

    id: UUID
    name: str
    status: Status
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime
    alias: str | None


class VersionShort(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list (ours)."""

    id: UUID
    version: int
    status: Annotated[Literal["draft", "published", "superseded"], Meta(description="One at most is `published`.")]
    created_at: datetime
    published_at: datetime | None


class TemplateContent(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What a version says. ``html`` is what was written, or what ``mjml`` was compiled to."""

    name: str
    alias: str | None
    from_: str | None
    subject: str | None
    reply_to: list[str] | None
    html: str
    text: str | None
    variables: list[VariableShown]
    mjml: Annotated[str | None, Meta(description="Ours.")]
    inline_css: Annotated[bool, Meta(description="Ours.")]
    required: Annotated[list[str], Meta(description="Ours: the variables that a mail has to give.")]
    version: Annotated[int, Meta(description="Ours.")]
    created_at: datetime
    published_at: datetime | None


class TemplateFull(TemplateContent, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A template with its newest version, which is the one that is sent unless there is a draft after it."""

    object: str = "template"
    id: UUID
    current_version_id: UUID
    status: Status
    has_unpublished_versions: bool
    updated_at: datetime


class VersionFull(TemplateContent, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A version with its content (ours)."""

    object: str = "template_version"
    id: UUID
    template_id: UUID


class TemplateList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first."""

    object: str = "list"
    has_more: bool
    data: list[TemplateShort]


class VersionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page, newest first (ours)."""

    object: str = "list"
    has_more: bool
    data: list[VersionShort]


class PreviewShown(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail would say (ours)."""

    object: str = "template_preview"
    id: UUID
    version: int
    subject: str | None
    html: str
    text: str | None
