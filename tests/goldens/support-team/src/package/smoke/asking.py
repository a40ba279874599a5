"""Ask the server a held-out question, and compare its answer with ``generate()``."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat import read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pretrained import load_model

from .stages import PACKAGE, Metrics, Run, environment

TIMEOUT = 240.0  # seconds until the server has to be ready


@dataclass(frozen=True)
class Config:
    """Section ``serve``."""

    serve: dict[str, Any]


def ask(run: Run, ready_path: str, **variables: str) -> Metrics:
    """Start the server with the environment ``variables``, ask it, and stop it.

    ``ready_path`` answers 200 once it can be asked. Raises UserError where the server does not
    become ready or answers differently.
    """
    serve = run.config(Config, "").serve
    model_name, max_tokens = serve["model_name"], serve["max_new_tokens"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = "smoke-" + os.urandom(16).hex()
    log = run.directory / "serve.log"
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            [*run.command(PACKAGE, "serve"), "--set", f"serve.port={port}"],
            env=environment(**variables, **{serve["api_key_env"]: key}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        question = read_split(run.directory / "data" / "test.jsonl")[0].messages[:-1]
        # While the server loads.
        expected = _generate(run.directory / "export", question, max_tokens)
        _wait_until_ready(server, f"http://127.0.0.1:{port}{ready_path}", begin + TIMEOUT, log)
        ready = time.monotonic() - begin
        answer = _ask(f"http://127.0.0.1:{port}/v1", key, model_name, question, max_tokens)
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    text = question[-1]["content"]
    print(f"question: {text}\nanswer:   {answer}", flush=True)
    if answer != expected:
        raise UserError(f"the server answered {answer!r}, generate() {expected!r}")
    return {"ready_seconds": round(ready, 1), "question": text, "answer": answer}


def _generate(export: Path, messages: list[dict[str, str]], max_tokens: int) -> str:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(export)
    model = load_model(export, "main", "float32")
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=max_tokens)
    new_tokens = output[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(new_tokens, skip_special_tokens=True))


def _wait_until_ready(server: Any, url: str, deadline: float, log: Path) -> None:
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the server ended with exit code {server.returncode}: see {log}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise UserError(f"the server was not ready in time: see {log}")


def _ask(url: str, key: str, model: str, messages: list[dict[str, str]], max_tokens: int) -> str:
    from openai import OpenAI, OpenAIError

    try:
        with OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60) as client:
            reply = client.chat.completions.create(
                model=model,
                messages=messages,  # type: ignore[arg-type]
                max_tokens=max_tokens,
                temperature=0,
            )
    except OpenAIError as error:
        raise UserError(f"the server refused the question: {error}") from None
    return reply.choices[0].message.content or ""
