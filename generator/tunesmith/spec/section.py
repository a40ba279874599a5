"""What every section of the spec has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the spec: immutable, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
