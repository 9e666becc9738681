"""Who plays a story: the user's side, on any API server and in any time."""

from datetime import datetime

from attrs import frozen

from captep_world._neighbour import Call, Objects
from captep_world.stories import Story, Subject

__all__ = ["Player", "StoryEvent"]


@frozen
class StoryEvent:
    """An act of the story, or its end, and when it came to pass."""

    at: datetime
    title: str


class Player:
    """Does the acts of one story about one subject; `happenings` is what has come to pass, `is_over` whether the story has come out."""

    def __init__(self, call: Call, story: Story, subject: Subject, *, now: datetime) -> None:
        """Begin at `now`: the first act waits from then on."""
        self.happenings: list[StoryEvent] = []
        self.is_over = False
        self._call, self._objects = call, Objects(call)
        self._story, self._subject = story, subject
        self._acts = list(story.acts)
        self._acted_at = now

    def waits_until(self) -> datetime:
        """Return the time before which nothing more is done, whatever holds."""
        return self._acted_at + self._acts[0].after if self._acts else self._acted_at

    def look(self, now: datetime) -> bool:
        """Do the next act, or end the story, if it is time and its condition holds; return whether something was done.

        Raises:
            ValueError: a request of the act was refused.
        """
        once = self._acts[0].once if self._acts else self._story.ends
        if self.is_over or now < self.waits_until() or not once(self._objects, self._subject):
            return False
        if self._acts:
            self._act(now)
        else:
            self.is_over = True
            self.happenings.append(StoryEvent(now, self._story.ending))
        return True

    def _act(self, now: datetime) -> None:
        act = self._acts.pop(0)
        for request in act.requests(self._subject):
            response = self._call(request)
            if not response.ok:
                raise ValueError(
                    f"the story {self._story.title!r} does not go on: {act.title} is answered with {response.status}"
                )
        self._acted_at = now
        self.happenings.append(StoryEvent(now, act.title))
