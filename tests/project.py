"""A project of one's own: files in a folder away from the checkout, and the installed wheel."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]

KILL = '''
"""A power cut in the middle of the second epoch, once."""

import os
import signal
from pathlib import Path

from pytorch_lightning import Callback


class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 2 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
'''


class Project:
    """A folder away from the checkout; site: where the wheel is installed."""

    def __init__(self, folder, site, files, words=()):
        """files: texts by their path. words: what each command gets, of which a training alone gets --config-dir."""
        self.folder, self.words = folder, words
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AETRANSFER_")}
        self.environment |= {"PYTHONPATH": f"{site}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            lines = text.lstrip("\n").splitlines()
            margin = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
            (folder / path).write_text("".join(f"{line[margin:]}\n" for line in lines))

    def __call__(self, words, module="train", code=0):
        own = self.words if module == "train" else [word for word in self.words if word.startswith("allow=")]
        return self.python("-m", f"aetransfer.{module}", *shlex.split(words), *own, code=code)

    def python(self, *words, code=0):
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def unpacked_wheel(folder):
    """Build the wheel and unpack it; return where."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "site")], check=True)
    return folder / "site"


def install_beside(project, site):
    """Do what `make setup` does in a project of `aetransfer.new`, without a network.

    Its environment sees the packages of this interpreter, with the wheel in site first. What the project itself is to
    be, its own build says.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (packages,) = (project / ".venv" / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(f"{site}\n{sysconfig.get_path('purelib')}\n")
    build = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, project / ".venv"], cwd=project, check=True, capture_output=True, text=True
    )
    wheel = project / ".venv" / done.stdout.split()[-1]
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, packages], check=True)
    (project / ".venv" / "ready").touch()
