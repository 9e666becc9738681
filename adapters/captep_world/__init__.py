"""The world around a control plane: its neighbours as pure controllers, its users' stories, and a simulation of both in virtual time."""

from captep_world import stories
from captep_world._applies import APPLY_FINALIZER, WorkspaceTemplateApplies
from captep_world._cluster_api import CLUSTER_FINALIZER, CAPTClusters, ClusterAPI
from captep_world._neighbour import IDLE, Call, Memory, Neighbour, Objects, Turn
from captep_world._neighbourhood import Neighbourhood, neighbours
from captep_world._pace import QUICK_PACE, REAL_PACE, Output, Pace, outputs
from captep_world._player import Player, StoryEvent
from captep_world._server import Server, changed_ref
from captep_world._simulation import (
    PASS_TIME,
    ControlLoop,
    Repeating,
    Simulation,
    VirtualClock,
    alike,
)
from captep_world._terraform import FAILURE_ANNOTATION, WORKSPACE_FINALIZER, Terraform
from captep_world.stories import Act, Condition, Story, Subject

__all__ = [
    "APPLY_FINALIZER",
    "CLUSTER_FINALIZER",
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
    "Condition",
    "ControlLoop",
    "Memory",
    "Neighbour",
    "Neighbourhood",
    "Objects",
    "Output",
    "Pace",
    "Player",
    "Repeating",
    "Server",
    "Simulation",
    "Story",
    "StoryEvent",
    "Subject",
    "Terraform",
    "Turn",
    "VirtualClock",
    "WorkspaceTemplateApplies",
    "alike",
    "changed_ref",
    "neighbours",
    "outputs",
    "stories",
]
