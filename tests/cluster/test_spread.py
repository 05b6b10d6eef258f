"""Jobs on a real Ray: each is done once, in order where that is asked, whatever becomes of the workers."""

import logging
import signal
from functools import partial
from pathlib import Path

import pytest

from kinevec.cluster import Cluster, Lost, spread
from kinevec.cluster.pool import ATTEMPTS
from kinevec.errors import VideoError
from ray_jobs import Dying, make_refusing

here = partial(spread, path=lambda job: Path(__file__))


def test_a_lost_job_is_done_again_and_one_that_kills_is_given_up(
    two: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs = [5, -1, 6, -2, *range(7, 17)]
    found = list(here(Dying(tmp_path), jobs, two, ordered=True))
    assert [job for job, _ in found] == jobs
    lost = found[3][1]
    assert isinstance(lost, Lost)
    assert lost.attempts == ATTEMPTS == len(list(tmp_path.glob("2-*")))
    assert "ActorDiedError" in str(lost)
    assert "\n" not in str(lost)
    assert [result for job, result in found if job != -2] == [2 * job for job in jobs if job != -2]
    assert len(list(tmp_path.glob("1-*"))) == 1
    assert len([r for r in caplog.records if "is done again" in r.getMessage()]) == 1 + ATTEMPTS - 1


def test_what_a_job_raises_is_raised_here_and_handlers_stay(two: Cluster) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(VideoError, match=r"7\.mp4: is not to be had") as caught:
        list(here(make_refusing, [7, 8], Cluster(workers=1)))
    assert caught.value.reason == "is not to be had"
    assert signal.getsignal(signal.SIGTERM) is before
