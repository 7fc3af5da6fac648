"""Which voices somebody means: by name, owner, person, state, upstream and policy."""

from __future__ import annotations

from dataclasses import dataclass

from lifecycle.domain.voices import State, Voice

#: What lists and audits can be grouped by.
GROUPS = ("owner", "subject", "state", "upstream", "policy")


@dataclass(frozen=True, slots=True)
class VoiceFilter:
    """Conditions that a voice must all meet; None and empty mean any.

    Attributes:
        names: One of these names.
        owner: Exactly this owner; "" means that nobody is named.
        subject_uid: The voice belongs to this person.
        states: One of these states.
        upstream: Exactly this upstream; "" means none.
        policy: The policy that the voice names.
    """

    names: tuple[str, ...] = ()
    owner: str | None = None
    subject_uid: str | None = None
    states: tuple[State, ...] = ()
    upstream: str | None = None
    policy: str | None = None

    @property
    def all(self) -> bool:
        """Whether every voice is meant."""
        return self == ALL

    def matches(self, voice: Voice) -> bool:
        """Whether a voice meets every condition."""
        return (
            (not self.names or voice.name in self.names)
            and self.owner in {None, voice.owner or ""}
            and (self.subject_uid is None or self.subject_uid in voice.subject_uids)
            and (not self.states or voice.state in self.states)
            and self.upstream in {None, voice.upstream or ""}
            and self.policy in {None, voice.policy}
        )


ALL = VoiceFilter()
