"""The user's side of a story, on any API server and in any time."""

from datetime import datetime

from attrs import frozen

from captep_world._neighbour import Call, Objects
from captep_world.stories import Story, Subject

__all__ = ["Player", "StoryEvent"]


@frozen
class StoryEvent:
    """An act of the story, or its end, and its time."""

    at: datetime
    title: str


class Player:
    """Does the acts of one story about one subject.

    `events` holds the acts so far; `is_over` becomes true when the story has ended.
    """

    def __init__(self, call: Call, story: Story, subject: Subject, *, now: datetime) -> None:
        """Begin at `now`: the first act waits from then on."""
        self.events: list[StoryEvent] = []
        self.is_over = False
        self._call, self._objects = call, Objects(call)
        self._story, self._subject = story, subject
        self._acts = list(story.acts)
        self._acted_at = now

    def waits_until(self) -> datetime:
        """Return the time before which the user does nothing, whatever holds."""
        return self._acted_at + self._acts[0].after if self._acts else self._acted_at

    def look(self, now: datetime) -> bool:
        """Do the next act, or end the story, once its time has come and its condition holds.

        Return whether something happened.

        Raises:
            ValueError: the server refused a request of the act.
        """
        once = self._acts[0].once if self._acts else self._story.ends
        if self.is_over or now < self.waits_until() or not once(self._objects, self._subject):
            return False
        if self._acts:
            self._act(now)
        else:
            self.is_over = True
            self.events.append(StoryEvent(now, self._story.ending))
        return True

    def _act(self, now: datetime) -> None:
        act = self._acts.pop(0)
        for request in act.requests(self._subject):
            response = self._call(request)
            if not response.ok:
                raise ValueError(
                    f"the story {self._story.title!r} cannot go on: "
                    f"the server answered {response.status} to {act.title!r}"
                )
        self._acted_at = now
        self.events.append(StoryEvent(now, act.title))
