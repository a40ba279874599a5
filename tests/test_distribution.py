"""What is shipped: a small wheel that carries everything and works where there is no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

from conftest import PROJECT, snapshot, spec_with, tunesmith, write_spec


def test_the_wheel_is_small_and_generates_the_same_bytes_as_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(PROJECT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "__pycache__" in name or name.startswith("tests/")]
        archive.extractall(unpacked)
    here = write_spec(tmp_path / "here", spec_with())
    there = write_spec(tmp_path / "there", spec_with())
    assert tunesmith("apply", here).returncode == 0
    # -S and -P leave out the editable install; what the tool depends on is given by path.
    code = f"import sys; sys.path[:0] = {[str(unpacked)]!r}; import tunesmith; assert {str(unpacked)!r} in tunesmith.__file__; from tunesmith.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "apply", str(there)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert snapshot(there) == snapshot(here)
    listed = subprocess.run([sys.executable, "-c", code, "blueprints"], capture_output=True, text=True, check=True)
    assert "support-assistant" in listed.stdout


def test_the_runtime_is_small() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (PROJECT / "runtime").rglob("*.py"))
    assert lines < 2_000


def test_the_runtime_imports_no_torch_until_asked() -> None:
    code = (
        "import pkgutil, importlib, sys, tunesmith_runtime\n"
        "heavy = ('torch', 'transformers', 'trl', 'peft', 'optuna', 'fastapi', 'pyarrow')\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in heavy: raise ImportError(f'{name} is imported too early')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "for module in pkgutil.iter_modules(tunesmith_runtime.__path__, 'tunesmith_runtime.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
