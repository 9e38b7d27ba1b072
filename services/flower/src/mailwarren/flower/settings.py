"""Flower's settings, from ``MAILWARREN_*``."""

from pydantic import Field, SecretStr, field_validator

from mailwarren.runtime.settings import Settings


class FlowerSettings(Settings):
    """Beside the common ones."""

    flower_auth: SecretStr
    """``user:password`` of whoever may look; there is no Flower without."""
    flower_host: str = "0.0.0.0"  # noqa: S104 - browsers come from outside the pod
    flower_port: int = Field(default=5555, ge=0, le=65535)
    flower_path: str = Field(default="", pattern=r"^[A-Za-z0-9._/-]*$")
    """The path under which a proxy serves it, such as ``flower``."""
    flower_interval: float = Field(default=10.0, ge=1, le=300)
    """Seconds between two roll calls; a worker that has not answered for two of them is shown as offline."""
    flower_tasks: int = Field(default=10_000, ge=1)
    """Tasks that are kept in memory, the newest."""

    @field_validator("flower_auth")
    @classmethod
    def _is_a_login(cls, value: SecretStr) -> SecretStr:
        user, _, password = value.get_secret_value().partition(":")
        if not user or len(password) < 8:  # noqa: PLR2004 - said in the message
            raise ValueError("give it as user:password, the password with 8 characters or more")
        return value
