"""Names: unknown ones, taken ones, third parties'."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenprune.errors import TokenpruneError, UsageError
from tokenprune.pruners import BUILT_IN, Pruner, ScorePruner, create, known_pruners, register, registry

pytestmark = pytest.mark.usefixtures("own_pruners")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package with entry points, as pip would leave it on the path."""

    def install(name: str, entries: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[tokenprune.pruners]\n{entries}\n")

    monkeypatch.syspath_prepend(tmp_path)
    return install


SOURCE = """
from tokenprune.pruners import ScorePruner

class First(ScorePruner):
    '''Keep the tokens nearest to the corner.

    At powers above 1 as well.
    '''

    def __init__(self, power=1):
        super().__init__()
        self.power = power

    def score(self, state, signals):
        return -state.position.float() ** self.power
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_name_is_a_pruner_of_that_name(name: str) -> None:
    assert isinstance(create(name), Pruner)
    assert registry._classes[name] is type(create(name))


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'magnitude'"):
        create("magnitud")


def test_options_it_does_not_take_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"^unknown option of pruner 'random' 'colour': known: none$"):
        create("random", colour="red")

    @register("powered")
    class Powered(ScorePruner):
        def __init__(self, power: float = 1.0) -> None:
            super().__init__()
            if isinstance(power, str):
                raise TypeError("power is a number")

    with pytest.raises(UsageError, match=r"'powr': did you mean 'power'[?] known: power$"):
        create("powered", powr=2)
    with pytest.raises(UsageError, match=r"pruner 'powered' does not take options {'power': 'x'}: power is a number"):
        create("powered", power="x")


def test_a_name_is_given_once() -> None:
    @register("mine")
    class Mine(ScorePruner):
        """Mine."""

    assert known_pruners()["mine"] == "Mine."
    assert isinstance(create("mine"), Mine)
    register("mine")(Mine)  # the same class again, as when a module is imported twice
    with pytest.raises(ValueError, match=r"'mine' is registered already, by .*Mine"):

        @register("mine")
        class Other(ScorePruner):
            pass

    for name in BUILT_IN:
        with pytest.raises(ValueError, match="is built-in: give Mine another name"):
            register(name)(Mine)


def test_a_third_partys_pruner_is_listed_and_made(package) -> None:
    package("third_party_a", "first = third_party_a:First", SOURCE)
    assert known_pruners()["first"] == "from third_party_a:First"
    assert registry.described_pruners()["first"] == "Keep the tokens nearest to the corner."
    assert create("first", power=2).power == 2
    assert type(create("first")).__module__ == "third_party_a"


def test_two_packages_with_one_name_are_an_error(package) -> None:
    package("third_party_b", "first = third_party_b:First", SOURCE)
    package("third_party_c", "first = third_party_c:First", SOURCE)
    with pytest.raises(UsageError, match="two pruners are called 'first'"):
        known_pruners()


def test_a_third_party_may_not_take_a_built_in_name(package) -> None:
    package("third_party_d", "random = third_party_d:First", SOURCE)
    with pytest.raises(UsageError, match="two pruners are called 'random'"):
        known_pruners()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("third_party_e:Absent", "cannot be imported: .*Absent"),
        ("third_party_e:NUMBER", "is not a Pruner"),
        ("no_such_module:First", "cannot be imported: No module named 'no_such_module'$"),
        ("third_party_exits:First", "cannot be imported: needs a licence$"),
    ],
)
def test_a_third_partys_mistake_names_it(package, entry: str, says: str) -> None:
    sys.modules.pop("third_party_e", None)
    package("third_party_e", f"broken = {entry}", SOURCE + "\nNUMBER = 3\n")
    package("third_party_exits", "", "import sys\nsys.exit('needs a licence\\nfrom us')")
    assert re.search(f"'broken' from {entry} {says}", registry.described_pruners()["broken"])
    assert registry.described_pruners()["random"] == BUILT_IN["random"]
    with pytest.raises(TokenpruneError, match=f"'broken' from {entry} {says}"):
        create("broken")


def test_names_are_known_without_torch() -> None:
    code = "import sys; from tokenprune.pruners import known_pruners; known_pruners(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
