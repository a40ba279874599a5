"""Serving: an engine that speaks OpenAI's protocol."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec

PACKAGE = TEMPLATES / "src" / "package"


@dataclass(frozen=True)
class Serve:
    """What the serving stage's templates see."""

    package: str
    name: str
    vllm: bool
    host: str
    port: int
    api_key_env: str
    max_length: int
    max_new_tokens: int
    max_concurrent_requests: int
    max_queue: int


def api_key_env(spec: Spec) -> str:
    """The environment variable that holds the server's API key."""
    return spec.serve.api_key_env or f"{spec.project.package.upper()}_API_KEY"


def context(spec: Spec) -> Serve:
    """What `spec` decides for this stage."""
    return Serve(
        package=spec.project.package,
        name=spec.project.name,
        vllm=spec.serve.engine == "vllm",
        host=spec.serve.host,
        port=spec.serve.port,
        api_key_env=api_key_env(spec),
        max_length=spec.model.max_length,
        max_new_tokens=spec.serve.max_new_tokens,
        max_concurrent_requests=256 if spec.serve.engine == "vllm" else 8,
        max_queue=512 if spec.serve.engine == "vllm" else 64,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests, for the chosen engine."""
    seen = context(spec)
    engine = spec.serve.engine
    package = f"src/{seen.package}"
    yield Copied("serve/script", f"{package}/serve.py", PACKAGE / f"serve.{engine}.py", "merge")
    if engine == "fastapi":
        room = PACKAGE / "serving"
        yield Copied("serve/init", f"{package}/serving/__init__.py", room / "__init__.py", "merge")
        yield Copied("serve/generation", f"{package}/serving/engine.py", room / "engine.py", "merge")
        yield Copied("serve/openai_server", f"{package}/serving/app.py", room / "app.py", "merge")
        yield Copied("serve/protocol", f"{package}/serving/protocol.py", room / "protocol.py", "merge")
    yield Copied("serve/guide", "docs/serve.md", TEMPLATES / "docs" / f"serve.{engine}.md", "merge")
    yield Rendered("serve/tests", "tests/test_serve.py", f"tests/test_serve.{engine}.py.j2", seen)
