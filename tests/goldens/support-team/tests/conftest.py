"""A tiny model and dataset, made once, so that the tests need no network and few seconds."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tunesmith_runtime.config import load_config

SMOKE = Path(__file__).parent.parent / "configs" / "smoke.yaml"
TOPICS = ["orders", "refunds", "parcels", "accounts", "invoices", "returns", "coupons", "stock"]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a config, split data and a base model that knows next to nothing."""
    from support_assistant.data import Config as DataConfig
    from support_assistant.data import main as prepare_data
    from support_assistant.smoke.base import Config as BaseConfig
    from support_assistant.smoke.base import main as make_base

    root = tmp_path_factory.mktemp("project")
    rows = [
        {"question": f"Question {n} about {topic}?", "answer": f"Look under {topic}."}
        for topic in TOPICS
        for n in range(12)
    ]
    source = root / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    values["run_dir"] = str(root / "run")
    values["base_model"] = str(root / "base")
    values["max_length"] = 128
    columns = {"prompt": "question", "completion": "answer"}
    values["data"]["sources"] = [
        {"path": str(source), "format": "prompt-completion", "columns": columns}
    ]
    values["base"] |= {"steps": 10, "layers": 2, "hidden_size": 32, "intermediate_size": 64}
    values["train"] |= {
        "max_steps": 6,
        "epochs": 10,
        "per_device_batch_size": 4,
        "eval_every": 3,
    }
    values["train"]["watch"] |= {"log_every": 1, "save_every": 3, "sample_every": 0.1}
    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    prepare_data(load_config(DataConfig, "data", [config]))
    make_base(load_config(BaseConfig, "base", [config]))
    return root


@pytest.fixture(scope="session")
def trained(project: Path) -> Path:
    """The same directory, after a training of a few steps."""
    from support_assistant.train import Config, main

    main(load_config(Config, "train", [project / "config.yaml"]))
    return project


@pytest.fixture
def train_config(project: Path, tmp_path: Path) -> Any:
    """The project's train config, with a run directory of its own that has the split data."""
    from support_assistant.train import Config

    shutil.copytree(project / "run" / "data", tmp_path / "data")
    loaded = load_config(Config, "train", [project / "config.yaml"])
    return replace(loaded, run_dir=str(tmp_path))


@pytest.fixture
def files(train_config: Any) -> list[Path]:
    """What a training with that config reads."""
    data = Path(train_config.run_dir) / "data"
    return [data / "train.jsonl", data / "validation.jsonl"]


@pytest.fixture
def tokenizer(project: Path) -> Any:
    from tunesmith_runtime.pretrained import load_chat

    return load_chat(str(project / "base"), "main", {}).tokenizer
