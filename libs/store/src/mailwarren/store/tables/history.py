"""What was done to the schema, for code of other versions to judge (``mailwarren.store.history``)."""

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text

from mailwarren.store.metadata import metadata, one_of

schema_history = Table(
    "schema_history",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("step", Text, nullable=False),
    Column("serves", Text),
    Column("applied_at", DateTime(timezone=True), nullable=False),
    one_of("step", ("expand", "contract")),
    CheckConstraint("(step = 'contract') = (serves IS NOT NULL)", name="serves"),
    comment=(
        "Writer: mailwarren migrate. The migrations that were applied. One that contracts names the oldest revision "
        "whose code it serves; code that does not know that revision is too old for this schema."
    ),
)
