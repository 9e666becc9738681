"""The last finalizer: the patch that takes it off is answered with an object that is no more."""

from captep_core import ABSENT, Patch, Preconditions
from captep_core.ports import Answer
from tests.kubernetes.scripted import replying
from tests.kubernetes.test_gateway import CONTROL_PLANE, ONE, Cluster, gateway, obj


def test_an_object_goes_with_its_last_finalizer() -> None:
    """The answer bears the old version, yet it counts as a change, and the object is absent at
    once.
    """
    deleting, released = obj(ONE, 5), obj(ONE, 5)
    for each in (deleting, released):
        each["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"  # type: ignore[index,call-overload]  # JSON
    deleting["metadata"]["finalizers"] = ["ours"]  # type: ignore[index,call-overload]  # JSON
    release = Patch(
        ONE,
        {"metadata": {"finalizers": None}},
        Preconditions("uid-1", "5"),
        "nothing is left to clean up",
    )
    with gateway(Cluster(replying(200, released), **{CONTROL_PLANE.plural: [deleting]})) as (
        made,
        changes,
    ):
        assert made.read(ONE) == deleting
        assert made.send(release) == Answer(200, changed=True)
        assert made.read(ONE) is ABSENT
        assert (changes[-1].ref, changes[-1].new) == (ONE, None)
