"""Jobs in forked processes give what they give in this one: results in order, errors as they are."""

import os
from collections.abc import Callable

import pytest

from tokenprune.errors import TokenpruneError
from tokenprune.report import workers


@pytest.fixture(params=[1, 2], autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(workers, "_cores", lambda: request.param)
    return int(request.param)


def test_results_come_in_order_from_so_many_processes(cores: int) -> None:
    jobs: list[Callable[[], tuple[int, int]]] = [lambda i=i: (i, os.getpid()) for i in range(20)]  # type: ignore[misc]
    found = workers.begin(jobs)()
    assert [index for index, _ in found] == list(range(20))
    assert (os.getpid() in {process for _, process in found}) == (cores == 1 or not hasattr(os, "fork"))


def test_an_error_is_raised_where_results_are_waited_for() -> None:
    def fail() -> int:
        raise TokenpruneError("no ink")

    wait = workers.begin([lambda: 1, fail, lambda: 3])
    with pytest.raises(TokenpruneError, match=r"^no ink$"):
        wait()


def test_a_killed_worker_leaves_its_work_to_this_process() -> None:
    here = os.getpid()

    def die_elsewhere() -> int:
        if os.getpid() != here:
            os._exit(9)
        return 2

    assert workers.begin([lambda: 1, die_elsewhere])() == [1, 2]
