"""The sweepers: Hydra's basic one, which composes no job twice, and the search behind sweep=tune.

Found by Hydra through the namespace package; Optuna is imported when a search begins.
"""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from aetransfer.config.choices import sweep_file
from aetransfer.config.compose import checked
from aetransfer.config.nodes import at_home, chosen
from aetransfer.config.schema import Job
from aetransfer.errors import UserError
from aetransfer.models.facts import Monitor
from aetransfer.origin import pip_install
from aetransfer.store.identity import identified
from aetransfer.sweeps.jobs import note_lost, note_planned, read_jobs
from aetransfer.sweeps.status import shown
from aetransfer.transfer.resolve import resolve

if TYPE_CHECKING:
    from aetransfer.sweeps.search import Arm

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="aetransfer_basic",
    node={"_target_": "hydra_plugins.aetransfer_sweepers.CheckedSweeper", "max_batch_size": None, "params": None},
)
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="aetransfer_optuna",
    node={"_target_": "hydra_plugins.aetransfer_sweepers.SearchSweeper", "params": None},
)


def _monitor_for(job: Job) -> Monitor:
    # torch takes seconds to import. The model is built to be asked, and forgotten.
    from aetransfer.training.build import make_encoder, make_model

    compared = make_model(job, make_encoder(job), outputs=job.data.classes or 1000).facts(job.model.name).compared
    if compared is None:
        raise UserError(f"model={job.model.name} declares no metric by which trials could be compared.")
    return compared


class CheckedSweeper(BasicSweeper):
    """Takes a batch's jobs as they are: the front door has seen every value before the sweep begins.

    Hydra's own composes each job of a sweep once to see that it can be, and again to run it. A sweep whose runs are all
    finished spends most of its time on that.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Check nothing, see above; take away the copy of the command line that Hydra has just written, keys and all.

        The sweep's own notes have the jobs, without their secrets.
        """
        assert self.config is not None
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)


class SearchSweeper(Sweeper):
    """Gives each combination of the swept keys `sweep.trials` trials of the space under `sweep.space`."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        """params: hydra.sweeper.params of a config file. They are among the arguments already, see the front door."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._loader = config, hydra_context.config_loader
        self._directory = Path(config.hydra.sweep.dir)
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        try:
            from aetransfer.sweeps.search import open_arms, print_search
        except ImportError as error:
            raise UserError(f"sweep=tune needs Optuna: {pip_install('search')}.") from error
        file = sweep_file(self._config)
        jobs = self._jobs(arguments)
        if any(chosen(job.evaluation) for _, job in jobs):
            print("A search tests nothing, so evaluation= waits for the commands that it ends with.")
        arms = open_arms(jobs, _monitor_for, file, arguments, at_home(self._config.paths.output_dir))
        with shown(self._directory, searches=True):
            self._search(arms, file.batch)
        print_search(arms, self._directory)

    def _search(self, arms: list["Arm"], batch: int) -> None:
        from aetransfer.sweeps.search import setting_of

        number = 0
        while asked := [(arm, trial) for arm in arms for _ in range(batch) if (trial := arm.study.ask())]:
            try:
                self._launch([[*arm.overrides, *setting_of(trial)] for arm, trial in asked], number)
            except BaseException:
                for arm, trial in asked:
                    arm.study.ask_again(trial)
                raise
            for place, (arm, trial) in enumerate(asked, number):
                arm.study.tell(trial, self._measured(place, arm))
            number += len(asked)

    def _jobs(self, arguments: list[str]) -> list[tuple[list[str], Job]]:
        """Return each combination of what is swept, as overrides and as the job they mean."""
        parsed = OverridesParser.create(config_loader=self._loader).parse_overrides(arguments)
        jobs = []
        for overrides in BasicSweeper.split_arguments(parsed, None)[0]:
            config = self._loader.load_sweep_config(self._config, overrides)
            with open_dict(config):
                del config["hydra"]
            jobs.append((overrides, identified(resolve(checked(config, Job), overrides))))
        return jobs

    def _launch(self, jobs: list[list[str]], first: int) -> None:
        logging.getLogger("hydra").setLevel(logging.WARNING)  # launchers announce each batch, and jobs are noted anyway
        note_planned(self._directory, jobs, first)
        try:
            self._launcher.launch(jobs, initial_job_idx=first)
        except Exception as error:
            # A worker was killed. Its trial failed, and the search goes on.
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        note_lost(self._directory)

    def _measured(self, number: int, arm: "Arm") -> float | None:
        """Return the best epoch's validation metric of a job, None where it failed."""
        (job,) = (job for job in read_jobs(self._directory) if job.number == number)
        if job.run is None:
            return None
        metrics = json.loads((Path(job.run) / "result.json").read_text())["metrics"]
        return metrics.get(arm.study.monitor.metric)
