"""Agents of a few nodes that come and go, asked and told things in any order of delivery (SPEC.md section 8.6)."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.protocol.agents.wiring import STEP_S, Call, Site, Wiring, active_at
from zmqagents.protocol.agents.claims import CENSUS_TIMEOUT_S
from zmqagents.protocol.ids import AgentKey
from zmqagents.protocol.records import Phase

KEYS = [f"worker/{number}" for number in range(4)]
CALLER, HOSTS = 0, [1, 2, 3]
NAMES = [CALLER, *HOSTS]
HEALING_S = 12.0  # every wait of the protocol is over by then

names = st.sampled_from(NAMES)
hosts = st.sampled_from(HOSTS)
keys = st.sampled_from(KEYS)


class Placement(RuleBasedStateMachine):
    """Host 1 stays; host 3 joins late; the others may leave or die."""

    def __init__(self) -> None:
        super().__init__()
        self.wiring = Wiring()
        self.began_s = self.wiring.now_s
        self.by_name: dict[int, Site] = {}
        self.gone: set[int] = set()
        self.joined: set[int] = set()
        self.leaving: set[int] = set()
        self.unaware: list[tuple[int, int]] = []
        """Who has not noticed yet that another has died."""
        self.apart: set[frozenset[int]] = set()
        """Pairs that hold each other for dead."""
        self.faultless = True
        self.calls: list[Call] = []
        self.published: Counter[tuple[int, AgentKey]] = Counter()
        self.count = 0

    @initialize(policy=st.sampled_from(["by_key", "rebalance"]), lowest_first=st.booleans())
    def begin(self, policy: str, lowest_first: bool) -> None:
        self.by_name[CALLER] = self.wiring.join(CALLER)
        for name in HOSTS if lowest_first else HOSTS[::-1]:
            late = name == 3
            phase = Phase.JOINING if late else Phase.ACTIVE
            self.by_name[name] = self.wiring.join(name, ["worker"], phase=phase, policy=policy)
            if not late:
                self.joined.add(name)

    # -- who is there ----------------------------------------------------------------------------------------------

    def live(self) -> list[Site]:
        return [site for name, site in self.by_name.items() if name not in self.gone]

    def agreed(self) -> bool:
        """Whether all see the same hosts: only then does anybody else come or go, so long as nothing is broken."""
        views = {site.node.directory.view("worker") for site in self.live()}
        return len(views) == 1

    @precondition(lambda self: 3 not in self.joined | self.gone and (self.agreed() or not self.faultless))
    @rule()
    def third_joins(self) -> None:
        self.joined.add(3)
        self.by_name[3].become(Phase.ACTIVE)

    @precondition(lambda self: self.agreed() or not self.faultless)
    @rule(name=st.sampled_from([2, 3]))
    def leaves(self, name: int) -> None:
        if name in self.joined - self.gone - self.leaving:
            self.leaving.add(name)
            self.by_name[name].become(Phase.LEAVING)

    @rule(name=st.sampled_from([2, 3]))
    def is_gone_when_all_is_done(self, name: int) -> None:
        site = self.by_name[name]
        if name not in self.leaving - self.gone or site.running or not site.node.agency.is_empty:
            return
        if site.node.unfinished_events or any(not call.outcomes for call in site.calls) or not site.node.is_quiet():
            return
        self.gone.add(name)
        site.node.leave()
        site.work()

    @rule(name=st.sampled_from([2, 3]))
    def dies(self, name: int) -> None:
        if name in self.gone or not self.wants_faults:
            return
        self.faultless = False
        self.gone.add(name)
        self.wiring.kill(self.by_name[name])
        self.unaware += [(site_name, name) for site_name in NAMES if site_name not in self.gone]

    @precondition(lambda self: self.unaware)
    @rule(data=st.data())
    def notices_a_death(self, data: st.DataObject) -> None:
        self.notice(data.draw(st.sampled_from(self.unaware)))

    def notice(self, pair: tuple[int, int]) -> None:
        self.unaware.remove(pair)
        if pair[0] not in self.gone:
            self.wiring.bury(self.by_name[pair[0]], self.by_name[pair[1]])

    # -- what is asked and told --------------------------------------------------------------------------------------

    @rule(name=names, key=keys, timeout_s=st.sampled_from([None, None, 0.2, 60.0]))
    def calls_agent(self, name: int, key: AgentKey, timeout_s: float | None) -> None:
        if name not in self.gone | self.leaving:
            self.count += 1
            self.calls.append(self.by_name[name].call(key, f"c{self.count}", timeout_s))

    @rule(name=names, key=keys, times=st.integers(1, 3))
    def publishes_events(self, name: int, key: AgentKey, times: int) -> None:
        for _ in range(times):
            if name not in self.gone | self.leaving:
                number = self.published[name, key]
                self.published[name, key] += 1
                self.by_name[name].publish(f"{name}:{number}", key)

    @rule(name=hosts, key=keys)
    def becomes_slow(self, name: int, key: AgentKey) -> None:
        self.by_name[name].slow.add(key)

    @rule(name=hosts, key=keys)
    def becomes_quick(self, name: int, key: AgentKey) -> None:
        site = self.by_name[name]
        site.slow.discard(key)
        if name not in self.gone:
            site.finish(key, 1_000)

    @rule(name=hosts, key=keys)
    def ends_a_handler(self, name: int, key: AgentKey) -> None:
        if name not in self.gone:
            self.by_name[name].finish(key)

    # -- the network -------------------------------------------------------------------------------------------------

    @rule(data=st.data(), times=st.integers(1, 20))
    def something_arrives(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            wires, news = self.wiring.ready(self.wiring.wires), self.wiring.ready(self.wiring.news)
            if not wires and not news:
                return
            index = data.draw(st.integers(0, len(wires) + len(news) - 1))
            if index < len(wires):
                self.wiring.deliver(wires[index])
            else:
                self.wiring.deliver_news(news[index - len(wires)])

    @rule()
    def everything_arrives(self) -> None:
        self.wiring.settle()

    @rule(one=names, other=names)
    def nothing_arrives_between_two(self, one: int, other: int) -> None:
        if one != other:
            self.wiring.hold(self.by_name[one], self.by_name[other])

    @rule(one=names, other=names)
    def something_arrives_between_two_again(self, one: int, other: int) -> None:
        if one != other and frozenset((one, other)) not in self.apart:
            self.wiring.release(self.by_name[one], self.by_name[other])

    wants_faults = True

    @rule(one=names, other=names)
    def link_is_reset(self, one: int, other: int) -> None:
        if one == other or not self.wants_faults or {one, other} & self.gone or frozenset((one, other)) in self.apart:
            return
        if self.by_name[other].node_id in self.by_name[one].node.state.peers:
            self.faultless = False
            self.wiring.reset(self.by_name[one], self.by_name[other])

    @rule(one=names, other=names)
    def two_are_cut_off(self, one: int, other: int) -> None:
        if one == other or not self.wants_faults or {one, other} & self.gone:
            return
        self.faultless = False
        self.apart.add(frozenset((one, other)))
        self.wiring.split(self.by_name[one], self.by_name[other])

    @precondition(lambda self: self.apart)
    @rule(data=st.data())
    def two_meet_again(self, data: st.DataObject) -> None:
        self.meet(data.draw(st.sampled_from(sorted(self.apart, key=sorted))))

    def meet(self, pair: frozenset[int]) -> None:
        self.apart.discard(pair)
        one, other = sorted(pair)
        if not pair & self.gone:
            self.wiring.connect(self.by_name[one], self.by_name[other])

    @rule(steps=st.integers(1, 6))
    def time_passes(self, steps: int) -> None:
        self.wiring.now_s += steps * STEP_S
        if self.wiring.now_s - self.began_s >= CENSUS_TIMEOUT_S:
            self.faultless = False  # a census that does not wait is as good as a partition
        for site in self.live():
            site.node.tick(self.wiring.now_s)
            site.look_again(paused=True)

    # -- what has to hold --------------------------------------------------------------------------------------------

    @invariant()
    def agent_is_active_once_while_nothing_is_broken(self) -> None:
        if self.faultless:
            for key in KEYS:
                assert len(active_at(self.wiring, key)) <= 1, key

    @invariant()
    def event_comes_once_and_in_order_while_nothing_is_broken(self) -> None:
        if self.faultless:
            self.check_events(complete=False)

    @invariant()
    def call_ends_once(self) -> None:
        assert all(len(call.outcomes) <= 1 for call in self.calls)

    def check_events(self, *, complete: bool) -> None:
        handled: dict[tuple[int, AgentKey], list[int]] = {}
        for _, key, text in self.wiring.log:
            if ":" in text:
                name, number = map(int, text.split(":"))
                handled.setdefault((name, key), []).append(number)
        for where, numbers in handled.items():
            assert numbers == list(range(len(numbers))), where
        if complete:
            assert {where: len(numbers) for where, numbers in handled.items()} == dict(self.published)

    def teardown(self) -> None:
        """Everything heals, and everybody ends what was begun."""
        if not self.by_name:
            return
        for pair in list(self.unaware):
            self.notice(pair)
        self.wiring.held.clear()
        for apart in list(self.apart):
            self.meet(apart)
        until_s = self.wiring.now_s + HEALING_S
        while self.wiring.now_s < until_s:
            self.wiring.pass_time(0.5)
            for site in self.live():
                site.slow.clear()
                for key in KEYS:
                    site.finish(key, 1_000)
            for name in (2, 3):
                self.is_gone_when_all_is_done(name)
        self.check_rest()

    def check_rest(self) -> None:
        assert self.gone >= self.leaving, "whoever leaves gets done"
        late = [(call.site.name, call.text) for call in self.calls if call.site in self.live() and not call.outcomes]
        assert not late, late
        for key in KEYS:
            assert len([name for name in active_at(self.wiring, key) if name not in self.gone]) <= 1, key
        if self.faultless:
            self.check_events(complete=True)
            self.check_states()
        self.check_everybody_finds_everything()

    def check_states(self) -> None:
        """An agent knows all that it has handled, wherever that was."""
        for key in KEYS:
            handled = [text for _, handled_key, text in self.wiring.log if handled_key == key]
            kept = [site.agents[key].seen for site in self.live() if key in site.agents]
            assert kept == ([handled] if handled else []), key

    def check_everybody_finds_everything(self) -> None:
        for key in KEYS:
            answers = set()
            for site in self.live():
                if site.node.record.phase is Phase.JOINING:
                    continue
                call = site.call(key, "last")
                self.wiring.settle()
                assert call.outcomes, (site.name, key)
                assert len(call.asked) <= 4, (site.name, key, call.asked)
                answers.update(call.outcomes)
            assert len(answers) == 1, (key, answers)


class FaultlessPlacement(Placement):
    """The same without a fault: hosts come and go, and what is sent arrives at last."""

    wants_faults = False


COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
TestPlacement = Placement.TestCase
TestPlacement.settings = settings(COMMON, max_examples=60, stateful_step_count=40)
TestFaultlessPlacement = FaultlessPlacement.TestCase
TestFaultlessPlacement.settings = settings(COMMON, max_examples=60, stateful_step_count=40)
