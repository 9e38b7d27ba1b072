"""Imports of contacts from CSV files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0011_imports"
down_revision = "0014_blobs"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)
STATES = "'uploading', 'queued', 'in_progress', 'completed', 'failed', 'canceled'"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "contact_imports",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("plan", JSONB),
        sa.Column("on_conflict", sa.Text),
        sa.Column("segments", ARRAY(sa.Uuid)),
        sa.Column("choices", JSONB),
        *(_count(name) for name in ("size", "position", "line", "created", "updated", "skipped", "failed")),
        sa.Column("error", sa.Text),
        sa.Column("order_id", sa.Uuid),
        sa.Column("issued", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("holder", sa.Uuid),
        sa.Column("tries", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_contact_imports"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_contact_imports_state")),
        comment=(
            "Writer: ingest. A file of contacts and how far it is worked off: position (octets), line and the counts"
            " change together with the contacts of a batch. plan says which column is what. order_id is the order that"
            " may work on it, holder the worker that does, due_at when the scheduler gives another order. Kept for"
            " MAILWARREN_IMPORTS_DAYS after its end."
        ),
    )
    op.create_index(
        "ix_contact_imports_open",
        "contact_imports",
        ["tenant", "id"],
        postgresql_where=sa.text("state IN ('queued', 'in_progress')"),
    )
    op.create_table(
        "contact_import_chunks",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("import_id", sa.Uuid, nullable=False),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "import_id", "starts", name="pk_contact_import_chunks"),
        _of_import("contact_import_chunks"),
        comment=(
            "Writer: ingest. An import's file as UTF-8, in pieces, each by the octet that it starts at; deleted when"
            " the import has ended."
        ),
    )
    op.create_table(
        "contact_import_errors",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("import_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("cells", JSONB, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "import_id", "number", name="pk_contact_import_errors"),
        _of_import("contact_import_errors"),
        comment="Writer: ingest. Rows of an import that made no contact, and why not; deleted with the import.",
    )


def _count(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _of_import(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", "import_id"],
        ["contact_imports.tenant", "contact_imports.id"],
        name=f"fk_{table}_tenant_import_id_contact_imports",
        ondelete="CASCADE",
    )


def downgrade() -> None:
    """Drop them, and the files in them."""
    op.drop_table("contact_import_errors")
    op.drop_table("contact_import_chunks")
    op.drop_table("contact_imports")
