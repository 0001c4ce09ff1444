"""A TPU VM as something that is had for a while: asked for, waited for, lost, given back; it costs money meanwhile."""

from __future__ import annotations

import sys
import time

from jaxnets.errors import JaxnetsError
from jaxnets.launch import gcloud, tool
from jaxnets.launch.gcloud import Node

READY = "READY"
_COMING = {"CREATING", "STARTING", "RESTARTING", "REIMAGING", "REPAIRING"}  # of a node
_QUEUED = {"ACCEPTED", "CREATING", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"}  # of a queued resource
_MISSING = "NOT_FOUND"
_LEAVING = 600.0  # seconds in which what was deleted must be gone


class Lost(JaxnetsError):
    """The node is not there any more, or not for us."""


def say(line: str) -> None:
    """What a launch says itself goes to stderr; stdout is for what the workers say."""
    print(f"jaxnets: {line}", file=sys.stderr, flush=True)


def state(node: Node) -> str | None:
    """How the node stands, or as long as it is not there its queued resource; None if there is neither.

    Raises JaxnetsError with gcloud's words.
    """
    found = tool.read(gcloud.describe(node), missing=_MISSING)
    if found is None and node.queued:
        found = tool.read(gcloud.describe_queue(node), missing=_MISSING)
    return None if found is None else found.strip()


def acquire(node: Node, *, within: float, poll: float) -> bool:
    """Waits until the node is ready, and asks for it if it is not there; whether it was there already.

    within: seconds it may take
    poll:   seconds between two looks

    Raises Lost if it is taken away or does not come in time, JaxnetsError with gcloud's words if it is refused.
    """
    found, until = state(node), time.monotonic() + within
    if not (known := found is not None):
        say(f"asking for {node.name} ({node.accelerator} in {node.zone})")
        tool.read(gcloud.create(node))
        found = state(node)
    said = None
    while found != READY:
        if found not in _COMING | (_QUEUED if node.queued else set()):
            raise Lost(f"{node.name} is {found or 'gone'} before it was ready")
        if found != said:
            say(f"{node.name} is {found}")
        if time.monotonic() > until:
            raise JaxnetsError(f"{node.name} is still {found} after {within:g} s; give it more: --ready-within SECONDS")
        said = found
        time.sleep(poll)
        found = state(node)
    say(f"{node.name} is READY")
    return known


def lost(node: Node) -> str | None:
    """The words for a node that is not ready any more; None as long as it is, or nobody can say."""
    try:
        found = state(node)
    except JaxnetsError as error:
        say(f"the state of {node.name} cannot be read now: {error}")
        return None
    return None if found == READY else found or "gone"


def release(node: Node, *, poll: float) -> None:
    """Deletes the node and its queued resource, and makes sure that both are gone.

    Raises JaxnetsError if they are not.
    """
    if node.queued:
        tool.read(gcloud.delete_queue(node), missing=_MISSING)
    if tool.read(gcloud.describe(node), missing=_MISSING) is not None:
        tool.read(gcloud.delete(node), missing=_MISSING)
    until = time.monotonic() + _LEAVING
    while (found := state(node)) is not None:
        if time.monotonic() > until:
            raise JaxnetsError(f"{node.name} was deleted and is still {found}; it may cost money: see the console")
        time.sleep(poll)
    say(f"{node.name} is deleted, nothing of it is left")
