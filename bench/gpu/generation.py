"""How fast the generated FastAPI server answers on one device: 1, 8 and 32 clients at a time.

`python generation.py JOB.json`, run by run.py. Weights are random, so answers run to their limit.
"""

import concurrent.futures
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from record import measured
from shapes import SHAPES, TINY, make_model

CLIENTS = (1, 8, 32)
MODEL = "support-assistant"


def main(job: dict[str, Any]) -> None:
    """Start the server once, and ask it."""
    import torch

    shape = "qwen3-1.7b"
    work, root = Path(job["work"]), Path(job["pack"]) / "repositories" / "sft-lora"
    length, new_tokens = (128, 8) if job["tiny"] else (4_096, 256)
    run_dir = work / "runs" / "served"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    make_model((TINY if job["tiny"] else SHAPES)[shape], work / "models" / shape, device)
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True)
    (run_dir / "export").symlink_to(work / "models" / shape)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    package = next((root / "src").iterdir()).name
    values = {"run_dir": run_dir, "serve.port": port, "serve.max_concurrent_requests": max(CLIENTS)}
    values |= {
        "serve.model_name": MODEL,
        "serve.max_queue": 4 * max(CLIENTS),
        "serve.max_model_len": length,
        "serve.max_new_tokens": new_tokens,
    }
    line = [sys.executable, "-m", package, "serve", "--config", "configs/default.yaml"]
    line += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    path = os.pathsep.join([str(root / "src"), str(root / "vendor"), os.environ.get("PYTHONPATH", "")])
    log = work / "serve.log"
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            line, cwd=root, env={**os.environ, "PYTHONPATH": path}, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            for clients in CLIENTS:
                entry = {"group": "generation", "case": f"{clients} clients", "shape": shape, "new_tokens": new_tokens}
                ask = partial(throughput, f"http://127.0.0.1:{port}", clients, new_tokens, server, job["deadline"])
                measured(Path(job["output"]), job["deadline"], entry, ask)
        finally:
            server.terminate()
            server.wait(timeout=60)


def throughput(
    url: str, clients: int, new_tokens: int, server: "subprocess.Popen[bytes]", deadline: float
) -> dict[str, Any]:
    """New tokens per second of all clients together, of as many requests as each asks twice."""
    while not is_ready(url):
        if server.poll() is not None or time.time() > deadline:
            raise RuntimeError(f"the server is not ready (exit code {server.poll()})")
        time.sleep(0.2)
    ask(url, new_tokens)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda _: ask(url, new_tokens), range(2 * clients)))
    seconds = time.monotonic() - begun
    tokens = sum(count for count, _ in answers)
    return {
        "new_tokens_per_second": round(tokens / seconds, 1),
        "median_seconds": round(statistics.median(taken for _, taken in answers), 2),
        "requests": len(answers),
    }


def is_ready(url: str) -> bool:
    """Whether the model is loaded."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def ask(url: str, new_tokens: int) -> tuple[int, float]:
    """Tokens of an answer, and the seconds it took."""
    message = {"role": "user", "content": "Where is my parcel, and when does it come? " * 2}
    body = {"model": MODEL, "messages": [message], "max_tokens": new_tokens, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=300) as response:
        answer = json.load(response)
    return answer["usage"]["completion_tokens"], time.monotonic() - begun


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
