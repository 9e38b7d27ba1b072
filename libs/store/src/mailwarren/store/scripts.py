"""Where the migrations are."""

from pathlib import Path

from alembic.config import Config


def config() -> Config:
    """Alembic's configuration for the migrations of this package."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    return settings
