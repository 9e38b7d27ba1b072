"""Templates of mails and their versions: tables that ingest alone writes.

A mail carries its content, so no version is needed any more once it was sent with: deleting a template, or a version of
it, takes nothing from mail that was accepted.
"""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from mailwarren.store.metadata import metadata, one_of

Time = DateTime(timezone=True)

MARKUPS = ("html", "mjml")

templates = Table(
    "templates",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("alias", Text),
    Column("latest", Integer, nullable=False),
    Column("published", Integer),
    Column("published_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    UniqueConstraint("tenant", "alias"),
    comment=(
        "Writer: ingest. Templates, kept until their tenant deletes them: latest is the number of the version that is "
        "shown and changed, published that of the one that is sent."
    ),
)
Index("ix_templates_page", templates.c.tenant, templates.c.created_at.desc(), templates.c.id.desc())

template_versions = Table(
    "template_versions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("template", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("sender", Text),
    Column("subject", Text),
    Column("reply_to", ARRAY(Text), nullable=False),
    Column("source", Text, nullable=False),
    Column("markup", Text, nullable=False),
    Column("inline_css", Boolean, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text),
    Column("variables", JSONB, nullable=False),
    Column("required", ARRAY(Text), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("published_at", Time),
    ForeignKeyConstraint(["tenant", "template"], ["templates.tenant", "templates.id"], ondelete="CASCADE"),
    one_of("markup", MARKUPS),
    comment=(
        "Writer: ingest. Versions of templates, the newest 50 of each: source is what the author wrote, html what it "
        "was compiled to, required the names that a mail has to give. A version that was published does not change."
    ),
)
