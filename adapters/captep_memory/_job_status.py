"""The status of a Job: which changes the server lets through."""

from collections.abc import Iterator

from captep_memory._checks import check_non_negative, require_model
from captep_memory._json import Object
from captep_memory._status import Cause

__all__ = ["check_job_status"]

_FINISHED = ("Complete", "Failed")


def check_job_status(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a Job's status; a finish that leaves something out is 501."""
    status = obj["status"]
    yield from check_non_negative("status", status, "active", "succeeded", "failed", "ready")
    before = {} if old is None else old.get("status", {})
    done, was_done = _finish(status), _finish(before)
    require_model(len(done) <= 1, "a Job that is complete and failed")
    require_model(not was_done or was_done <= done, "a finished Job that goes on")
    if was_done:
        return
    completed = "completionTime" in status
    require_model(completed is ("Complete" in done), "a completionTime without Complete")
    if done:
        idle = not status.get("active") and not status.get("ready")
        criteria = "SuccessCriteriaMet" if "Complete" in done else "FailureTarget"
        sound = idle and criteria in _true(status) and "startTime" in status
        require_model(sound, "a Job that finishes without the steps before it")
    start = before.get("startTime")
    require_model(
        start is None or status.get("startTime") == start or obj["spec"].get("suspend"),
        "another startTime of a Job",
    )


def _true(status: Object) -> set[str]:
    conditions = status.get("conditions", ())
    return {each["type"] for each in conditions if each["status"] == "True"}


def _finish(status: Object) -> set[str]:
    return _true(status) & {*_FINISHED}
