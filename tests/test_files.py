"""Files from elsewhere: what is opened, and what is not."""

from pathlib import Path

import pytest

from tokenprune import files
from tokenprune.recipe import RecipeError, load_recipe


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no such file system here")
@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/cpuinfo", "/proc/self/mem", "/sys/kernel/uevent_seqnum"])
def test_what_the_kernel_makes_up_is_no_regular_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").symlink_to(name)
    for path in (Path(name), tmp_path / "r.yaml"):
        with pytest.raises(OSError, match="not a regular file"), files.opened(path):
            pass
    with pytest.raises(RecipeError, match="cannot read it: not a regular file"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no such file system here")
def test_a_regular_file_is_one_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{}")
    with (tmp_path / "r.yaml").open() as handle, files.opened(Path(f"/proc/self/fd/{handle.fileno()}")) as again:
        assert again.read() == b"{}"
