"""Templates and their versions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0012_templates"
down_revision = "0010_contacts"
branch_labels = None
depends_on = None
step = "expand"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "templates",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("alias", sa.Text),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer),
        sa.Column("published_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_templates"),
        sa.UniqueConstraint("tenant", "alias", name="uq_templates_tenant_alias"),
        comment=(
            "Writer: ingest. Templates, kept until their tenant deletes them: latest is the number of the version that "
            "is shown and changed, published that of the one that is sent."
        ),
    )
    op.create_index("ix_templates_page", "templates", ["tenant", sa.text("created_at DESC"), sa.text("id DESC")])
    _template_versions()


def downgrade() -> None:
    """Drop both."""
    op.drop_table("template_versions")
    op.drop_table("templates")


def _template_versions() -> None:
    op.create_table(
        "template_versions",
        sa.Column("tenant", sa.Uuid, nullable=False),
        sa.Column("template", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("sender", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("reply_to", ARRAY(sa.Text), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("markup", sa.Text, nullable=False),
        sa.Column("inline_css", sa.Boolean, nullable=False),
        sa.Column("html", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("variables", JSONB, nullable=False),
        sa.Column("required", ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("published_at", TIME),
        sa.PrimaryKeyConstraint("tenant", "template", "number", name="pk_template_versions"),
        sa.ForeignKeyConstraint(
            ["tenant", "template"],
            ["templates.tenant", "templates.id"],
            name="fk_template_versions_tenant_template_templates",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("markup IN ('html', 'mjml')", name=op.f("ck_template_versions_markup")),
        comment=(
            "Writer: ingest. Versions of templates, the newest 50 of each: source is what the author wrote, html what "
            "it was compiled to, required the names that a mail has to give. A version that was published does not "
            "change."
        ),
    )
