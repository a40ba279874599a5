"""A real vLLM server on a loopback port, asked with OpenAI's own client."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from tunesmith_runtime.errors import UserError

from hostile.serve import Config, command, main

REPOSITORY = Path(__file__).parents[1]
KEY = "sk-local"
QUESTION, ANSWER = "hello", "Hello! 안녕하세요 😀, how can I help you today?"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def config(run_dir: Path | str, **changes: Any) -> Config:
    values: dict[str, Any] = {
        "run_dir": str(run_dir),
        "dtype": "float32",
        "host": "127.0.0.1",
        "port": 0,
        "model_name": "tiny",
        "api_key_env": "TEST_SERVE_KEY",
        "max_model_len": 256,
        "max_new_tokens": 100,
        "max_concurrent_requests": 8,
        "max_queue": 16,
        "shutdown_timeout": 10,
        "enforce_eager": True,
    }
    return Config(**{**values, **changes})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that has learnt one answer by heart."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["how can I help you today"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,  # vLLM's attention on a CPU starts at 32 a head
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(llama, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), return_tensors="pt")
    for _ in range(60):
        model(**ids, labels=ids["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("run")
    model.save_pretrained(path / "export")
    tokenizer.save_pretrained(path / "export")
    return path


@dataclass
class Served:
    url: str
    process: subprocess.Popen[bytes]

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def served(run_dir: Path) -> Iterator[Served]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: `make setup-serve`, or `make setup-serve-cpu`")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = vars(config(run_dir, port=port))
    top = {"run_dir": values.pop("run_dir"), "dtype": values.pop("dtype")}
    path = run_dir / "config.yaml"
    path.write_text(json.dumps({**top, "serve": values}))  # YAML reads JSON
    log = (run_dir / "vllm.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "hostile", "serve", "--config", str(path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / name) for name in ("src", "vendor")),
            "TEST_SERVE_KEY": KEY,
            "VLLM_PORT": "tcp://10.0.0.1:8000",  # what Kubernetes injects
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; without a GPU
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    served = Served(f"http://127.0.0.1:{port}", process)
    deadline = time.monotonic() + 240
    while True:
        try:
            urllib.request.urlopen(f"{served.url}/health", timeout=5).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.terminate()
                text = (run_dir / "vllm.log").read_text(errors="replace")
                pytest.fail(f"vLLM did not come up:\n{text[-4000:]}")
            time.sleep(0.5)
    yield served
    process.terminate()
    process.wait(timeout=60)
    log.close()


def test_models(served: Served) -> None:
    assert [model.id for model in served.client().models.list()] == ["tiny"]


def test_a_wrong_key_is_refused(served: Served) -> None:
    with pytest.raises(openai.AuthenticationError):
        served.client("sk-wrong").models.list()
    arguments = Path(f"/proc/{served.process.pid}/cmdline").read_bytes().split(b"\0")
    assert b"vllm.entrypoints.openai.api_server" in arguments  # the process itself became vLLM
    assert not any(KEY.encode() in argument for argument in arguments)


def test_an_unknown_model_is_refused(served: Served) -> None:
    with pytest.raises(openai.NotFoundError):
        served.client().completions.create(model="gpt-4", prompt="hello")


def test_chat_and_stream(served: Served) -> None:
    create = served.client().chat.completions.create
    messages: Any = [{"role": "user", "content": QUESTION}]
    answer = create(model="tiny", messages=messages, temperature=0)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    chunks = create(model="tiny", messages=messages, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER


def test_max_new_tokens_bounds_an_answer(served: Served) -> None:
    answer = served.client().completions.create(
        model="tiny", prompt="la", max_tokens=200, extra_body={"ignore_eos": True}
    )
    assert answer.usage
    assert answer.usage.completion_tokens == 100


def test_sigterm_finishes_what_runs(served: Served) -> None:  # the last one: it ends the server
    stream = served.client().completions.create(
        model="tiny", prompt="la", max_tokens=100, stream=True, extra_body={"ignore_eos": True}
    )
    next(stream)
    served.process.send_signal(signal.SIGTERM)
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    served.process.wait(timeout=60)


def test_the_command_holds_every_value() -> None:
    arguments = command(Path("runs/x/export"), config("runs/x", port=8123))
    for expected in ("--model=runs/x/export", "--served-model-name=tiny", "--max-model-len=256"):
        assert expected in arguments
    for expected in ("--port=8123", "--host=127.0.0.1", "--dtype=float32", "--enforce-eager"):
        assert expected in arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_dir": "nowhere"}, "make export"),
        ({"host": "0.0.0.0"}, "TEST_SERVE_KEY"),
        ({"max_model_len": 4096}, "max_model_len"),
    ],
)
def test_it_refuses_to_start(
    run_dir: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=message) as refusal:
        main(config(**{"run_dir": run_dir, **changes}))
    assert "\n" not in str(refusal.value)


def test_without_vllm_it_says_how_to_install_it(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="make setup-serve"):
        main(config(run_dir))
