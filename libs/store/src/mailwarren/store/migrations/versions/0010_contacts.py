"""Contacts with their properties, segments and topics."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010_contacts"
down_revision = "0009_quota"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _contacts()
    _contact_properties()
    _segments()
    _topics()


def downgrade() -> None:
    """Drop everything."""
    for table in ("contact_topics", "contact_segments", "topics", "segments", "contact_properties", "contacts"):
        op.drop_table(table)


def _of_a_tenant(name: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=f"pk_{name}"),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    ]


def _of_a_contact(name: str, other: str, order: tuple[str, ...]) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column(other, sa.Uuid, nullable=False),
        sa.Column("contact", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("tenant", *order, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            ["tenant", other], [f"{other}s.tenant", f"{other}s.id"], name=f"fk_{name}_tenant_{other}_{other}s"
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "contact"],
            ["contacts.tenant", "contacts.id"],
            name=f"fk_{name}_tenant_contact_contacts",
            ondelete="CASCADE",
        ),
    ]


def _contacts() -> None:
    op.create_table(
        "contacts",
        *_of_a_tenant("contacts"),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=False),
        sa.Column("first_name", sa.Text),
        sa.Column("last_name", sa.Text),
        sa.Column("unsubscribed", sa.Boolean, nullable=False),
        sa.Column("properties", JSONB, nullable=False),
        sa.UniqueConstraint("tenant", "email_key", name="uq_contacts_tenant_email_key"),
        comment=(
            "Writer: ingest. People, until somebody deletes them. email as it was given first, email_key in lower case "
            "with the domain in A-labels: one contact each. properties are values by the id (hex) of their contact "
            "property."
        ),
    )


def _contact_properties() -> None:
    op.create_table(
        "contact_properties",
        *_of_a_tenant("contact_properties"),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("fallback", JSONB),
        sa.Column("deleted_at", TIME),
        sa.CheckConstraint("type IN ('string', 'number', 'boolean')", name=op.f("ck_contact_properties_type")),
        comment="Writer: ingest. What a tenant keeps about contacts: a name, a type, and the value for who has none.",
    )
    op.create_index(
        "uq_contact_properties_key",
        "contact_properties",
        ["tenant", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _segments() -> None:
    op.create_table(
        "segments",
        *_of_a_tenant("segments"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("deleted_at", TIME),
        comment="Writer: ingest. Lists of contacts with a name (audiences, in the older paths of the API).",
    )
    op.create_table(
        "contact_segments",
        *_of_a_contact("contact_segments", "segment", ("segment", "contact")),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.text("now()")),
        comment="Writer: ingest. Who is in which segment, for as long as both are there.",
    )
    op.create_index("ix_contact_segments_contact", "contact_segments", ["tenant", "contact"])


def _topics() -> None:
    op.create_table(
        "topics",
        *_of_a_tenant("topics"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("default_subscription", sa.Text, nullable=False),
        sa.Column("visibility", sa.Text, nullable=False),
        sa.Column("deleted_at", TIME),
        sa.CheckConstraint(
            "default_subscription IN ('opt_in', 'opt_out')", name=op.f("ck_topics_default_subscription")
        ),
        sa.CheckConstraint("visibility IN ('public', 'private')", name=op.f("ck_topics_visibility")),
        comment=(
            "Writer: ingest. Subjects that contacts can take or leave; default_subscription is for who has not chosen."
        ),
    )
    op.create_table(
        "contact_topics",
        *_of_a_contact("contact_topics", "topic", ("contact", "topic")),
        sa.Column("subscription", sa.Text, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("subscription IN ('opt_in', 'opt_out')", name=op.f("ck_contact_topics_subscription")),
        comment="Writer: ingest. What a contact chose about a topic; no row for who has not chosen.",
    )
    op.create_index("ix_contact_topics_topic", "contact_topics", ["tenant", "topic"])
