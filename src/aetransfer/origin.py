"""Where this aetransfer was installed from, and so how it is installed again, with an extra or elsewhere."""

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import aetransfer


def requirement(extra: str = "") -> str:
    """Return what a pyproject.toml names: a checkout, a wheel, a commit, or a version of aetransfer."""
    name = f"aetransfer[{extra}]" if extra else "aetransfer"
    if (checkout := _checkout()) is not None:
        return f"{name} @ {checkout.as_uri()}"
    try:
        # What installed it has noted from where (PEP 610), unless that was an index.
        noted = json.loads(distribution("aetransfer").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        noted = {}
    if "url" not in noted:
        return f"{name}=={aetransfer.__version__}"
    if "vcs_info" in noted:
        return f"{name} @ {noted['vcs_info']['vcs']}+{noted['url']}@{noted['vcs_info']['commit_id']}"
    return f"{name} @ {noted['url']}"


def pip_install(extra: str) -> str:
    """Return the command that adds the packages of an extra, as it can be pasted in any folder."""
    checkout = _checkout()
    if checkout is not None:
        return f"pip install -e {shlex.quote(f'{checkout}[{extra}]')}"
    return f"pip install {shlex.quote(requirement(extra))}"


def _checkout() -> Path | None:
    folder = Path(aetransfer.__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None
