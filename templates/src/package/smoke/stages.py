"""Run the stages one after another as users do, time them and record what came out.

The summary, ``{"stages": [{"name", "status", "seconds", "metrics"}]}``, grows with each stage.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat import read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import read_metrics, write_json
from tunesmith_runtime.pretrained import load_model

Metrics = dict[str, float | str]

# One thread: for a model this small a second gains little, and on a busy machine costs a lot.
DEFAULTS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
# What a smoke run needs is in the repository; a GPU would round in another way.
FIXED = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


class CannotRunError(Exception):
    """This machine lacks what a stage needs; the stage is skipped, and says why."""


@dataclass
class Stage:
    """One stage: ``run`` returns its metrics, or raises UserError or CannotRunError."""

    name: str
    run: Callable[[], Metrics]
    status: str = "skipped"
    seconds: float = 0.0
    metrics: Metrics = field(default_factory=dict)


def command(module: str, arguments: Sequence[str], output: Path) -> Callable[[], Metrics]:
    """A stage that is ``python -m module …`` and leaves ``output/manifest.json``."""

    def run() -> Metrics:
        line = [sys.executable, "-m", module, *arguments]
        result = subprocess.run(line, env={**DEFAULTS, **os.environ, **FIXED}, check=False)
        if result.returncode != 0:
            raise UserError(f"exit code {result.returncode}: {' '.join(['python', *line[1:]])}")
        return read_metrics(output)

    return run


def run_stages(stages: Sequence[Stage], run_dir: Path) -> Metrics:
    """Run them in order and print a table. Raises UserError where one failed."""
    summary = run_dir / "summary.json"
    strangers = [path for path in run_dir.glob("*") if path.name not in {s.name for s in stages}]
    if strangers and not summary.is_file():
        raise UserError(f"{strangers[0]}: was not made by a smoke run; choose another run_dir")
    shutil.rmtree(run_dir, ignore_errors=True)
    failure = None
    _write_summary(summary, stages)
    for stage in stages:
        print(f"\n=== {stage.name}", flush=True)
        begin = time.monotonic()
        try:
            stage.metrics = stage.run()
            stage.status = "passed"
        except CannotRunError as reason:
            stage.metrics = {"reason": str(reason)}
            print(f"skipped: {reason}", flush=True)
        except UserError as error:
            stage.status, failure = "failed", f"smoke: {stage.name} failed: {error}"
        stage.seconds = round(time.monotonic() - begin, 1)
        _write_summary(summary, stages)
        if failure:
            break
    _print_table(stages)
    if failure:
        raise UserError(failure)
    # Kilobytes on Linux; the largest child process, so the stage that needs the most.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": round(sum(s.seconds for s in stages), 1), "peak_megabytes": round(peak)}


def serve_and_ask(
    serve: Sequence[str],
    ready_path: str,
    run_dir: Path,
    api_key_env: str,
    model_name: str,
    max_tokens: int,
    timeout: float = 240.0,
) -> Metrics:
    """Start the server, ask it a held-out question and compare with ``generate()``.

    ``serve`` is the command without its port; ``ready_path`` answers 200 once it can be asked.
    Raises UserError where the server does not become ready or answers differently.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = "smoke-" + os.urandom(16).hex()
    log = run_dir / "serve.log"
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            [*serve, "--set", f"serve.port={port}"],
            env={**DEFAULTS, **os.environ, **FIXED, api_key_env: key},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        question = read_split(run_dir / "data" / "test.jsonl")[0].messages[:-1]
        expected = _generate(run_dir / "export", question, max_tokens)  # while the server loads
        _wait_until_ready(server, f"http://127.0.0.1:{port}{ready_path}", begin + timeout, log)
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


def _write_summary(path: Path, stages: Sequence[Stage]) -> None:
    fields = ("name", "status", "seconds", "metrics")
    write_json(path, {"stages": [{name: getattr(s, name) for name in fields} for s in stages]})


def _print_table(stages: Sequence[Stage]) -> None:
    """Each stage, with each metric of the base model beside the tuned one's."""
    print(f"\n{'stage':<12} {'status':<8} {'seconds':>8}")
    for stage in stages:
        results = []
        for key, tuned in stage.metrics.items():
            if key.startswith("tuned_"):
                name = key.removeprefix("tuned_")
                base = stage.metrics.get(f"base_{name}")
                results.append(f"{name} {'' if base is None else f'{base:.3g} → '}{tuned:.3g}")
        print(f"{stage.name:<12} {stage.status:<8} {stage.seconds:>8.1f}  {'  '.join(results)}")
