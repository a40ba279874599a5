"""What run.py needs on a machine without a network, in one folder of less than 64 MB: wheels and generated repositories.

    .venvs/tool/bin/python bench/gpu/pack.py build/gpu

Runs where `make test` has made the environments. The wheels are those of a generated repository's stack for Python 3.12,
all but the large ones that a machine for training has: torch with CUDA, numpy, pyarrow.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = PROJECT / ".venvs" / "extras" / "bin" / "python"
TUNESMITH = Path(sys.executable).with_name("tunesmith")
MOST_MEGABYTES = 64
ROOTS = (
    *("accelerate", "bitsandbytes", "datasets", "fastapi", "nvidia-ml-py", "peft", "prometheus-client", "psutil"),
    *("pydantic", "pyyaml", "rouge-score", "sacrebleu", "transformers", "trl", "uvicorn"),
)
THERE = ("torch", "numpy", "pyarrow", "pandas", "lxml", "pip", "setuptools")
LIGER = "liger-kernel==0.8.5"  # a lever that no repository has
SOURCES = ("rouge-score",)  # of which there is no wheel
PLATFORMS: tuple[str, ...] = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64",
)
PLATFORMS += ("manylinux2014_x86_64", "manylinux1_x86_64")
# bitsandbytes has a library for each CUDA; the machine's is 13.
LIBRARIES = ("libbitsandbytes_cpu.so", "libbitsandbytes_cuda130.so")
REPOSITORIES: dict[str, tuple[str, dict[str, object]]] = {
    "sft-lora": ("support-assistant", {}),
    "sft-qlora": ("support-assistant", {"adapter": "qlora"}),
    "sft-full": ("support-assistant", {"adapter": "full"}),
    "sft-packing": ("support-assistant", {"packing": True}),
    "sft-fsdp": ("support-assistant", {"distributed": "fsdp"}),
    "sft-deepspeed-zero2": ("support-assistant", {"distributed": "deepspeed-zero2"}),
    "sft-deepspeed-zero3": ("support-assistant", {"distributed": "deepspeed-zero3"}),
    "dpo-lora": ("support-preferences", {"method": "dpo"}),
}


def main() -> None:
    """Make the folder anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder to make")
    parser.add_argument("--without-wheels", action="store_true", help="repositories alone, for the environments here")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    make_repositories(arguments.folder / "repositories")
    if not arguments.without_wheels:
        make_wheels(arguments.folder / "wheels")
    megabytes = sum(path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file()) / 1e6
    print(f"{arguments.folder}: {megabytes:.1f} MB")
    if megabytes >= MOST_MEGABYTES:
        raise SystemExit(
            f"{arguments.folder}: {megabytes:.1f} MB are too many to travel; the limit is {MOST_MEGABYTES}"
        )


def make_repositories(folder: Path) -> None:
    """As users make them, without a search."""
    for name, (blueprint, train) in REPOSITORIES.items():
        root = folder / name
        run(str(TUNESMITH), "init", blueprint, str(root), "--defaults")
        spec = yaml.safe_load((root / "pipeline.yaml").read_text(encoding="utf-8"))
        spec["train"] = {**spec.get("train", {}), **train}
        spec |= {"hpo": {"enabled": False}, "serve": {"engine": "fastapi"}}
        (root / "pipeline.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        run(str(TUNESMITH), "apply", str(root))


def make_wheels(folder: Path) -> None:
    """Those of the stack for the machine, and bitsandbytes without the libraries of other CUDAs."""
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip"]
    machine = ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    machine += [part for platform in PLATFORMS for part in ("--platform", platform)]
    packages = required()
    sources = [package for package in packages if package.startswith(SOURCES)]
    wheels = [package for package in packages if package not in sources]
    run(*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), *machine, *wheels, LIGER)
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *sources)
    (whole,) = folder.glob("bitsandbytes-*.whl")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        small = Path(place) / whole.name
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target:
            for item in source.infolist():
                if not item.filename.endswith(".so") or item.filename.endswith(LIBRARIES):
                    target.writestr(item, source.read(item))
        small.replace(whole)


def required() -> list[str]:
    """What the stack's packages require, with the versions that are installed here, as NAME==VERSION."""
    code = f"""
from importlib.metadata import distribution
from packaging.requirements import Requirement
found, waiting = {{}}, list({ROOTS!r})
while waiting:
    name = waiting.pop().lower().replace("_", "-").replace(".", "-")
    if name in found or name in {THERE!r}:
        continue
    package = distribution(name)
    found[name] = package.version
    for text in package.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({{"extra": ""}}):
            waiting.append(requirement.name)
print(*(f"{{name}}=={{version}}" for name, version in sorted(found.items())))
"""
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def run(*line: str) -> None:
    """Run a command; its output is shown only where it fails."""
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(line[:4])}: {done.stdout[-500:]}{done.stderr[-500:]}")


if __name__ == "__main__":
    main()
