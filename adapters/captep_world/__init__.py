"""The neighbours of a control plane as pure controllers, its users' stories, and a simulation.

A `Simulation` plays a story over a server in virtual time.
"""

from captep_world import stories
from captep_world._applies import APPLY_FINALIZER, WorkspaceTemplateApplies
from captep_world._cluster_api import (
    CLUSTER_FINALIZER,
    CORE_VERSIONS,
    CAPTClusters,
    ClusterAPI,
    CoreVersion,
)
from captep_world._conversion import CLUSTER_CONVERSIONS, convert_cluster
from captep_world._neighbour import IDLE, Call, Memory, Neighbour, Objects, Turn
from captep_world._neighbourhood import Neighbourhood, neighbours
from captep_world._pace import QUICK_PACE, REAL_PACE, Pace, TerraformOutput, outputs
from captep_world._player import Player, StoryEvent
from captep_world._server import WorldServer, changed_ref, changed_refs
from captep_world._simulation import (
    PASS_TIME,
    ControlLoop,
    Repeating,
    Simulation,
    VirtualClock,
    alike,
)
from captep_world._terraform import FAILURE_ANNOTATION, WORKSPACE_FINALIZER, Terraform
from captep_world.stories import Act, Story, StoryCondition, Subject

__all__ = [
    "APPLY_FINALIZER",
    "CLUSTER_CONVERSIONS",
    "CLUSTER_FINALIZER",
    "CORE_VERSIONS",
    "FAILURE_ANNOTATION",
    "IDLE",
    "PASS_TIME",
    "QUICK_PACE",
    "REAL_PACE",
    "WORKSPACE_FINALIZER",
    "Act",
    "CAPTClusters",
    "Call",
    "ClusterAPI",
    "ControlLoop",
    "CoreVersion",
    "Memory",
    "Neighbour",
    "Neighbourhood",
    "Objects",
    "Pace",
    "Player",
    "Repeating",
    "Simulation",
    "Story",
    "StoryCondition",
    "StoryEvent",
    "Subject",
    "Terraform",
    "TerraformOutput",
    "Turn",
    "VirtualClock",
    "WorkspaceTemplateApplies",
    "WorldServer",
    "alike",
    "changed_ref",
    "changed_refs",
    "convert_cluster",
    "neighbours",
    "outputs",
    "stories",
]
