"""What `plugins new` writes installs and passes its tests as it is, from an installed wheel."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from attributree.plugins import scaffold
from support.environments import Environment

pytestmark = pytest.mark.acceptance


def test_the_wheel_and_the_source_distribution_bring_every_template(built: Path) -> None:
    templates = {
        f"attributree/plugins/templates/{path.name}" for path in Path(scaffold.__file__).parent.glob("templates/*")
    }
    assert len(templates) >= 6
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        assert templates <= set(wheel.namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        assert templates <= {name.partition("/core/")[2] for name in archive.getnames()}


@pytest.mark.parametrize("options", ["", "--kind multi --head --value red --value 'blue=navy|azure'"])
def test_a_new_distribution_installs_and_passes_its_tests(
    environment: Environment, tmp_path: Path, options: str
) -> None:
    name = "trial-headed" if options else "trial-plain"
    environment.shell(f"attributree plugins new {name} {options}", tmp_path)
    environment.shell(f"pip install --quiet -e attributree-{name}", tmp_path)
    told = environment.shell("pytest -q -W error -m 'not attributree_grows'", tmp_path / f"attributree-{name}")
    assert "13 passed, 1 deselected" in told
    assert f"attributree-{name}" in environment.shell("attributree plugins list --json", tmp_path)
