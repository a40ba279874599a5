"""The `serve` section: the server that answers with the tuned model."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.spec.section import Section

Engine = Literal["fastapi", "vllm"]


class Serve(Section):
    """The server that answers with the tuned model, over OpenAI's protocol."""

    engine: Annotated[
        Engine,
        Field(
            description="`vllm`: high throughput on a GPU; "
            "`fastapi`: a small server on transformers, for low traffic and CPUs."
        ),
    ] = "vllm"
    host: Annotated[
        str,
        Field(
            max_length=253,
            description="Address to listen on; 0.0.0.0 opens the server to the network and demands an API key.",
            examples=["0.0.0.0"],  # noqa: S104 — an example
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535, description="TCP port to listen on.")] = 8000
    api_key_env: Annotated[
        str | None,
        Field(
            max_length=100,
            pattern=r"^[A-Z][A-Z0-9_]*$",
            description="Environment variable that holds the API key; `<PACKAGE>_API_KEY` when left out.",
            examples=["MODEL_API_KEY"],
        ),
    ] = None
    max_new_tokens: Annotated[
        int,
        Field(ge=1, le=131_072, description="Longest answer, in tokens, and what a request gets that does not say."),
    ] = 512

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
            if not re.fullmatch(rf"{label}(\.{label})*", host):
                raise ValueError(f"must be an IP address or a host name, not {host!r}") from None
        return host
