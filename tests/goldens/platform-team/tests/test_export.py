"""Export: one folder that loads by itself and computes what was trained."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError

from order_desk.export import Config, main


def exported(project: Path, *overrides: str) -> dict[str, float | str]:
    return main(load_config(Config, "export", [project / "config.yaml"], overrides))


def test_the_exported_folder_computes_what_was_trained(trained: Path) -> None:
    metrics = exported(trained)
    folder = trained / "run" / "export"
    assert float(metrics["megabytes"]) > 0
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert "README.md" in names
    assert not folder.with_name("export.partial").exists()

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode("Question 3 about orders?")])
    reference = AutoModelForCausalLM.from_pretrained(trained / "run" / "train" / "final").eval()
    with torch.no_grad():
        difference = (model(ids).logits - reference(ids).logits).abs().max().item()
    assert difference < 1e-4
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_without_training_there_is_nothing_to_export(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the train stage first"):
        exported(project, f"run_dir={tmp_path}")
