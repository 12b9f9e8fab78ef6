"""The runtime's side of power modes: when the mode changes, another profile holds, and another policy decides."""

from __future__ import annotations

from collections.abc import Callable

from jetson.bundle import Bundle
from jetson.engines import Engines
from jetson.errors import OfframpError
from jetson.log import get_logger
from jetson.power.watch import LOOK_S, ModeWatch
from jetson.profiling.check import check_engine, check_profile
from jetson.profiling.modes import ModeProfiles, missing
from jetson.profiling.profile import LatencyProfile
from jetson.scheduling.carry import carry_over
from jetson.scheduling.planner import Planner
from jetson.scheduling.policy import Policy
from jetson.scheduling.ruled import Ruled

logger = get_logger(__name__)


class Following:
    """Watches the power mode and has the next policy ready; the runtime takes it between two frames."""

    def __init__(
        self,
        bundle: Bundle,
        engines: Engines,
        profiles: ModeProfiles,
        now: LatencyProfile,
        make: Callable[[LatencyProfile], Policy],
        look_s: float = LOOK_S,
    ) -> None:
        """Begin to watch, where the board has power modes.

        Args:
            bundle: opened.
            engines: loaded.
            profiles: of all modes that were measured.
            now: the one of them that holds.
            make: makes the policy for a profile; may take a second.
            look_s: between two looks at the power mode.
        """
        self._bundle, self._engines, self._profiles, self._make = bundle, engines, profiles, make
        self.profile = now
        """That holds for the policy which decides."""
        self.notice: str | None = None
        self._next: tuple[LatencyProfile, Policy] | None = None
        mode = now.device.power_mode
        self._watch = None if mode is None else ModeWatch(mode, self.changed, look_s)

    def changed(self, mode: str) -> None:
        """Another mode holds: have its policy made, or say why there is none. Called in the watching thread."""
        profile = self._profiles.of(mode)
        if profile is None:
            self._next = None
            self._say(f"{missing(mode, self._profiles.modes, self._bundle)}; until then the slowdown is followed")
            return
        try:
            check_profile(profile, self._bundle)
            check_engine(profile, self._bundle, self._engines.info, self._engines.precisions)
            self._next = (profile, self._make(profile))
        except OfframpError as error:
            self._next = None
            self._say(f"power mode {mode} holds, and its profile is not taken: {error}")
            return
        self.notice = None
        logger.info("power mode %s holds: its profile is taken before the next frame", mode)

    def _say(self, notice: str) -> None:
        self.notice = notice
        logger.warning("%s", notice)

    def take_over(self, policy: Policy) -> Policy:
        """The policy that decides from now on; called between two frames.

        Args:
            policy: that decided until now.
        """
        ready, self._next = self._next, None
        if ready is None:
            return policy
        self.profile, new = ready
        if isinstance(policy, Ruled) and isinstance(new, Ruled):
            carry_over(policy, new)
            if isinstance(new, Planner):
                new.look_soon()
        return new

    @property
    def ready(self) -> bool:
        """Whether there is another policy to take."""
        return self._next is not None

    def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()
