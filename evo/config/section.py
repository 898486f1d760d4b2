"""What every section of the configuration is."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SamplingConfig(Section):
    """Decoding. Temperature 0 is greedy: all K samples are then the same."""

    temperature: float = Field(1.0, ge=0.0, le=5.0)
    top_p: float = Field(0.995, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=0)
    max_tokens: int = Field(50, ge=1, le=32_768)
