"""Search the learning rate and the LoRA rank with Optuna; the objective is the validation loss.

Supports stopping at any time: finished trials are kept in ``run_dir/hpo/study.db`` and count when
the stage is started again. Hopeless trials are pruned at their intermediate evaluations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from optuna.trial import TrialState
from pydantic import PositiveFloat, PositiveInt
from transformers import PrinterCallback, TrainerCallback
from tunesmith_runtime.chat import Example
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, sha256, write_manifest
from tunesmith_runtime.preflight import Preflight

from .train import Config as TrainConfig
from .train import build_trainer, prepare, validate
from .training.failures import translate_failures
from .training.progress import Progress, tokens_per_step


@dataclass(frozen=True)
class Config:
    """Section ``hpo``, over the values of section ``train``."""

    run_dir: str
    seed: int
    train: TrainConfig
    trials: PositiveInt
    epochs: PositiveFloat  # of one trial
    max_steps: int  # of one trial; -1: as many as the epochs take
    eval_every: PositiveFloat  # steps or, below 1, a share of them; each is a chance to prune
    learning_rate: tuple[PositiveFloat, PositiveFloat]  # searched on a log scale
    lora_rank: list[PositiveInt]


def main(config: Config) -> dict[str, float | str]:
    """Run the trials that are missing and write the best values to ``run_dir/hpo/best.yaml``.

    That file is a config: ``--config configs/default.yaml --config runs/default/hpo/best.yaml``.
    """
    started = now()
    directory = Path(config.run_dir) / "hpo"
    directory.mkdir(parents=True, exist_ok=True)
    files = [Path(config.run_dir) / "data" / f"{split}.jsonl" for split in ("train", "validation")]
    study = open_study(config, directory, files)
    finished = count_finished(study)
    if finished:
        print(f"hpo: {finished} of {config.trials} trials are finished already", flush=True)

    if finished < config.trials:
        tokenizer, train_set, validation = prepare(config.train, files)
        # A pruned or diverged trial counts; one that was killed does not.
        study.optimize(
            lambda trial: run_trial(config, trial, tokenizer, train_set, validation, directory),
            n_trials=config.trials - finished,
            gc_after_trial=True,  # a trainer holds its model in cycles
        )
    complete = study.get_trials(states=[TrialState.COMPLETE])
    if not complete:
        raise UserError("hpo: no trial finished; lower hpo.learning_rate or raise hpo.trials")

    best = study.best_trial
    values = trial_values(config, best.params)
    overlay = yaml.safe_dump({"train": values}, sort_keys=False)
    header = f"# Trial {best.number} of {len(study.trials)}: validation loss {best.value:.4f}\n"
    (directory / "best.yaml").write_text(header + overlay, encoding="utf-8")
    print(f"hpo: best is trial {best.number}: {values}", flush=True)

    metrics: dict[str, float | str] = {
        "trials": float(count_finished(study)),
        "pruned_trials": float(len(study.get_trials(states=[TrialState.PRUNED]))),
        "best_validation_loss": float(best.value or 0.0),
        **values,
    }
    write_manifest(directory, "hpo", config, [*files, config.train.base_model], started, metrics)
    return metrics


def open_study(config: Config, directory: Path, files: Sequence[Path]) -> optuna.Study:
    """Create the study, or open the one that an earlier run left.

    Raises UserError where the earlier one searched with another config, since losses of different
    runs cannot be compared; ``run_dir``, ``train.watch`` and ``trials`` may differ.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="validation-loss",
        storage=f"sqlite:///{directory / 'study.db'}",
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )
    # With the bare seed, a resumed search would propose its first points again.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    values = {f"train.{name}": value for name, value in asdict(config.train).items()}
    values |= {**asdict(config), "data": {path.name: sha256(path) for path in files}}
    for name in ("train", "run_dir", "train.run_dir", "train.watch", "trials"):
        del values[name]  # they change no loss, or stand there one by one
    current = json.loads(json.dumps(values))
    before = study.user_attrs.get("config", current)
    changed = sorted(key for key in current | before if current.get(key) != before.get(key))
    if changed:
        raise UserError(
            f"{directory}: holds a search with another config ({', '.join(changed)}); remove that "
            "directory to start over, or choose another run_dir"
        )
    study.set_user_attr("config", current)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)  # it was killed
    if not count_finished(study):
        # The config's own values go first, so the best is no worse than they are.
        low, high = config.learning_rate
        if low <= config.train.learning_rate <= high and config.train.lora_rank in config.lora_rank:
            given = {"learning_rate": config.train.learning_rate}
            study.enqueue_trial({**given, "lora_rank": config.train.lora_rank})
    return study


def run_trial(
    config: Config,
    trial: optuna.Trial,
    tokenizer: Any,
    train_set: Preflight,
    validation: Sequence[Example],
    directory: Path,
) -> float:
    """Train one candidate; its validation loss in nats per token."""
    trial.suggest_float("learning_rate", *config.learning_rate, log=True)
    trial.suggest_categorical("lora_rank", config.lora_rank)
    values = trial_values(config, trial.params)
    print(f"hpo: trial {trial.number}: {values}", flush=True)
    candidate = replace(
        config.train,
        **values,
        epochs=config.epochs,
        max_steps=config.max_steps,
        eval_every=config.eval_every,
    )
    output = directory / f"trial-{trial.number}"
    unsaved = {"save_strategy": "no", "load_best_model_at_end": False}  # trials keep no checkpoints
    trainer = build_trainer(candidate, tokenizer, train_set.examples, validation, output, **unsaved)
    tokens = tokens_per_step(trainer, train_set.examples)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(None, tokens, candidate.watch.max_loss_growth))
    trainer.add_callback(ReportToOptuna(trial))
    try:
        with translate_failures(directory):
            trainer.train()
    except UserError as error:  # the loss is no longer a number, or the memory is too small
        print(f"hpo: trial {trial.number} ended: {error}", flush=True)
        raise optuna.TrialPruned from None
    trainer.remove_callback(ReportToOptuna)  # it has seen the last step already
    loss = float(validate(candidate, trainer, validation)["validation_loss"])
    print(f"hpo: trial {trial.number}: validation loss {loss:.4f}", flush=True)
    del trainer
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return loss


def trial_values(config: Config, params: Mapping[str, Any]) -> dict[str, Any]:
    """Config values of a candidate; alpha keeps its ratio to the rank, so the update its size."""
    ratio = config.train.lora_alpha / config.train.lora_rank
    return {**params, "lora_alpha": ratio * params["lora_rank"]}


def count_finished(study: optuna.Study) -> int:
    """Trials that ran to their end or were pruned."""
    return len(study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED]))


class ReportToOptuna(TrainerCallback):  # type: ignore[misc]
    """Tells Optuna each intermediate validation loss and ends the trial that it gives up."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.evaluations = trial, 0

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        self.evaluations += 1
        self.trial.report(metrics["eval_loss"], self.evaluations)
        if self.trial.should_prune():
            print(f"hpo: trial {self.trial.number} pruned at step {state.global_step}", flush=True)
            raise optuna.TrialPruned
