"""What earlier versions called a thing still means it: in a config, on a command line, in a finished run."""

import re
from pkgutil import resolve_name

import pytest

from aetransfer.config.other_names import OLD_NAMES, oldest, todays
from tests.integration.conftest import TINY, job_of
from tests.integration.test_evaluate import numbers

OLD, TODAYS = "aetransfer.data.embedded.read_digits", "aetransfer.data.readers.embedded.read_digits"


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_leads_to_what_there_is_and_a_digest_has_the_oldest(old):
    assert callable(resolve_name(todays(old)))
    assert todays(oldest(old)) == todays(old)
    assert oldest(oldest(old)) == oldest(todays(old)) == oldest(old)


def test_a_name_that_never_changed_is_as_it_is():
    assert todays("my_lab.shapes.read") == oldest("my_lab.shapes.read") == "my_lab.shapes.read"


def test_a_command_line_with_an_old_name_means_the_same_job():
    assert job_of("data=digits", f"data.reader._target_={OLD}") == job_of("data=digits")


def test_a_run_whose_config_has_an_old_name_is_measured(run_train, run_evaluate):
    done = run_train(*TINY, "transfer=scratch", "data=digits")
    config = done.run / "config.yaml"
    assert TODAYS in config.read_text()
    config.write_text(re.sub(re.escape(TODAYS), OLD, config.read_text()))

    assert numbers(run_evaluate(f"run={done.run}"))["test/acc"] == done.result["metrics"]["test/acc"]
