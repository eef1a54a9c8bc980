//! The loop of one group under a virtual clock: real policy, real guard, scripted servers. Checks probes,
//! orders and published records, and their times.

#[path = "group/crowd.rs"]
mod crowd;
#[path = "group/former.rs"]
mod former;
#[path = "group/liars.rs"]
mod liars;
#[path = "group/memory.rs"]
mod memory;
#[path = "group/sentinels.rs"]
mod sentinels;

use redis_model::World;
use redis_operator::contract::{Action, FailureKind, Group as Wanted, Instance, Observation, Value, Verdict};
use redis_operator::group::{
    Answer, Effect, Event, Failed, Group, Member, Moment, Order, Outcome, Reply, Report, Request, Settings,
};
use redis_operator::policy::{Component, Policy, PolicyChain, Sandbox, embedded};
use std::sync::{Arc, OnceLock};

/// A group, its servers, and the time.
struct Harness {
    group: Group,
    policies: Arc<PolicyChain>,
    world: World,
    now: Moment,
    effects: Vec<Effect>,
}

/// A chain of the embedded policy alone.
fn policies() -> Arc<PolicyChain> {
    static POLICY: OnceLock<Arc<Component>> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        let sandbox = Arc::new(Sandbox::new(None).expect("this machine runs WebAssembly"));
        Arc::new(embedded(&sandbox).expect("the embedded policy is one"))
    });
    Arc::new(PolicyChain::new(Arc::clone(policy) as Arc<dyn Policy>))
}

impl Harness {
    /// A healthy group of three, after its first round.
    fn healthy(may_act: bool) -> Self {
        Self::healthy_under(policies(), may_act)
    }

    fn healthy_under(policies: Arc<PolicyChain>, may_act: bool) -> Self {
        let world = World::healthy(3);
        let wanted = observation(&world).group;
        let settings = Settings { wanted, parameters: "{}".into(), interval_us: 25_000, records: vec![] };
        let now = Moment(1_000_000);
        let mut harness = Self { group: Group::new(settings, now), policies, world, now, effects: vec![] };
        harness.on(Event::Authority { may_act, silent_groups_permille: 0 });
        let members = harness.instances().into_iter().map(|at| Member {
            id: at.id,
            kind: at.kind,
            shard: at.shard,
            address: at.address,
            aliases: at.aliases,
            pod: at.pod,
            is_former: false,
        });
        let members = members.collect();
        harness.on(Event::Members(members));
        assert_eq!(harness.probed(), ["redis-1", "redis-2", "redis-3"]);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
        }
        harness
    }

    fn instances(&self) -> Vec<Instance> {
        observation(&self.world).instances
    }

    fn on(&mut self, event: Event) {
        self.effects = self.group.on(self.now, event, &self.policies);
    }

    fn after(&mut self, us: u64) -> &mut Self {
        self.now = self.now.after_us(us);
        self
    }

    /// The member's answer with its server's present state, to a probe that was sent 10 µs after the last
    /// step, on its connection.
    fn answer(&mut self, id: &str) {
        let sent = self.now.after_us(10);
        self.after(110).answer_probe_of(id, sent);
    }

    fn survivors_answer(&mut self) {
        self.answer("redis-2");
        self.answer("redis-3");
    }

    /// The answer of a member's server, for another member.
    fn answer_as(&mut self, member: &str, server: &str) {
        let sent = self.now.after_us(10);
        self.after(110).answer_of(member, server, sent);
    }

    fn answer_probe_of(&mut self, id: &str, sent: Moment) {
        self.answer_of(id, id, sent);
    }

    fn answer_of(&mut self, member: &str, id: &str, sent: Moment) {
        let instance = self.instances().into_iter().find(|instance| instance.id == id).expect("a member");
        let replies = instance
            .replies
            .into_iter()
            .filter_map(|reply| Some((reply.command.into(), Ok(reply.newest?.value))))
            .collect();
        let answer = Ok(Answer { link: link(id), replies });
        self.on(Event::Reply(Reply { member: member.into(), sent, answer }));
    }

    fn refuse(&mut self, id: &str) {
        let sent = self.now;
        let answer = Err(Failed { kind: FailureKind::Refused, text: "connection refused".into() });
        self.after(50).on(Event::Reply(Reply { member: id.into(), sent, answer }));
    }

    /// The master's process ends; the host sees its socket close and a fresh connect refused.
    fn kill_master(&mut self) {
        self.world.kill("redis-1");
        self.after(5_000).on(Event::Closed { member: "redis-1".into(), link: link("redis-1") });
        assert_eq!(self.probed(), ["redis-1"], "dialled again at once");
        self.refuse("redis-1");
        assert_eq!(self.probed(), ["redis-1", "redis-2", "redis-3"], "only replies after the refusal count");
    }

    fn probed(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(
                |effect| if let Effect::Probe { member } = effect { Some(member.as_str()) } else { None },
            )
            .collect()
    }

    fn orders(&self) -> Vec<Order> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::Act(order) = effect { Some(order.clone()) } else { None })
            .collect()
    }

    fn published(&self) -> Vec<(String, u64)> {
        let record = |effect: &Effect| {
            if let Effect::Publish(record) = effect {
                Some((record.published.master.clone(), record.published.epoch))
            } else {
                None
            }
        };
        self.effects.iter().filter_map(record).collect()
    }

    fn verdict(&self) -> Option<(Verdict, String)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Report(Report::Decided(decided)) => {
                Some((decided.decision.verdict, decided.decision.reason.clone()))
            }
            _ => None,
        })
    }

    fn wakes_in_us(&self) -> u64 {
        let wake = self
            .effects
            .iter()
            .find_map(|effect| if let Effect::WakeAt(at) = effect { Some(*at) } else { None });
        self.now.age_us(wake.expect("every step says when to wake"))
    }
}

fn observation(world: &World) -> Observation {
    let json = serde_json::to_value(world.observe()).expect("an observation has a JSON form");
    serde_json::from_value(json).expect("both families of types have one JSON form")
}

fn link(id: &str) -> u64 {
    id.bytes().last().map_or(0, u64::from)
}

fn promoted(order: &Order) -> &str {
    match &order.action {
        Action::Promote(promote) => &promote.id,
        other => panic!("no promotion: {other:?}"),
    }
}

#[test]
fn a_healthy_group_is_published_once_and_probed_again_after_the_interval() {
    let mut harness = Harness::healthy(true);
    assert_eq!(harness.verdict(), Some((Verdict::Healthy, "healthy".into())));
    assert_eq!(harness.published(), [("redis-1".to_owned(), 1)]);
    assert_eq!(harness.wakes_in_us(), 25_000);
    harness.after(25_000).on(Event::Tick);
    assert_eq!(harness.probed().len(), 3);
    for id in ["redis-3", "redis-1", "redis-2"] {
        harness.answer(id);
    }
    assert_eq!((harness.published(), harness.orders().len()), (vec![], 0));
}

#[test]
fn an_unchanged_round_decides_nothing_until_the_policys_time_and_a_change_decides_at_once() {
    let mut harness = Harness::healthy(true);
    let round = |harness: &mut Harness| {
        harness.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
        }
        harness.verdict().map(|(_, reason)| reason)
    };
    for server in ["redis-1", "redis-2", "redis-3"] {
        harness.world.at(server).offset += 500;
    }
    assert_eq!(round(&mut harness), None, "offsets change all the time");
    harness.after(1_000_000);
    assert_eq!(round(&mut harness), Some("healthy".into()));
    harness.world.at("redis-3").link_down(0);
    assert_eq!(round(&mut harness), Some("replica-syncing".into()));
    assert_eq!(
        round(&mut harness),
        Some("replica-syncing".into()),
        "an unhealthy group is decided on in every round"
    );
}

#[test]
fn a_promotion_is_sent_on_the_connection_that_reported_and_published_beside_it() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.answer("redis-2");
    assert!(harness.orders().is_empty(), "the probe of redis-3 is in flight");
    harness.answer("redis-3");
    harness.refuse("redis-1");
    let orders = harness.orders();
    assert_eq!(orders.iter().map(promoted).collect::<Vec<_>>(), ["redis-2"]);
    assert_eq!(orders[0].links, [("redis-2".to_owned(), link("redis-2"))]);
    assert_eq!(harness.published(), [("redis-2".to_owned(), 2)]);
}

#[test]
fn without_authority_it_decides_and_neither_acts_nor_publishes() {
    let mut harness = Harness::healthy(false);
    assert!(harness.published().is_empty());
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert_eq!(harness.verdict(), Some((Verdict::Act, "master-dead".into())));
    assert_eq!((harness.orders().len(), harness.published()), (0, vec![]));
    harness.on(Event::Authority { may_act: true, silent_groups_permille: 0 });
    assert_eq!(harness.probed().len(), 3, "authority starts a round; earlier replies lead to no action");
}

#[test]
fn an_answer_to_a_probe_from_before_the_round_is_probed_again() {
    let mut harness = Harness::healthy(true);
    harness.world.kill("redis-1");
    harness.after(25_000).on(Event::Tick);
    let asked = harness.now;
    harness.after(10).on(Event::Closed { member: "redis-1".into(), link: link("redis-1") });
    harness.refuse("redis-1");
    harness.after(10).answer_probe_of("redis-2", asked);
    assert_eq!(harness.probed(), ["redis-2"]);
    assert_eq!(harness.verdict(), None);
}

#[test]
fn a_hung_member_delays_one_round_and_no_later_one() {
    let mut harness = Harness::healthy(true);
    harness.world.at("redis-2").link_down(0);
    harness.after(25_000).on(Event::Tick);
    harness.answer("redis-1");
    harness.answer("redis-2");
    assert_eq!(harness.verdict(), None, "redis-3 is waited for");
    let left = harness.wakes_in_us();
    assert!(left <= 10_000, "{left}");
    harness.after(left).on(Event::Tick);
    assert!(harness.verdict().is_some());
    let next = harness.wakes_in_us();
    harness.after(next).on(Event::Tick);
    harness.answer("redis-1");
    harness.answer("redis-2");
    assert!(harness.verdict().is_some(), "a later round does not wait for it");
}

#[test]
fn the_first_answer_of_a_replaced_master_starts_a_round_and_makes_it_a_replica() {
    let mut harness = Harness::healthy(true);
    let last_reply = harness.now;
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let number = harness.orders()[0].number;
    let server = harness.world.at("redis-2");
    server.role = redis_model::Role::Master;
    server.grown("b", 1000, "a", 1000);
    harness.after(300).on(Event::Finished {
        order: number,
        outcome: Outcome::Done { note: String::new(), pause_us: None },
    });
    harness.survivors_answer();
    harness.refuse("redis-1");
    let follows: Vec<Action> = harness.orders().into_iter().map(|order| order.action).collect();
    assert!(
        matches!(&follows[..], [Action::Follow(follow)]
            if follow.id == "redis-3" && follow.master == "redis-2"),
        "{follows:?}"
    );
    let number = harness.orders()[0].number;
    harness.world.at("redis-3").follow("10.0.0.2", 6379);
    harness.world.at("redis-3").grown("b", 1000, "a", 1000);
    harness.after(300).on(Event::Finished {
        order: number,
        outcome: Outcome::Done { note: String::new(), pause_us: None },
    });
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert_eq!(harness.verdict().map(|(_, reason)| reason), Some("replica-missing".into()));
    // The old master was only stopped: it answers the probe that it has received, with 40 bytes that only it
    // has.
    let old = harness.world.at("redis-1");
    old.seen.link.state = failover_core::contract::LinkState::Answering;
    old.seen.failure = None;
    old.seen.age_us = Some(400);
    old.offset = 1040;
    harness.answer_probe_of("redis-1", last_reply);
    let follows: Vec<Action> = harness.orders().into_iter().map(|order| order.action).collect();
    assert!(
        matches!(&follows[..], [Action::Follow(follow)]
            if follow.id == "redis-1" && follow.discards_bytes == Some(40)),
        "{follows:?}"
    );
}

#[test]
fn an_action_without_an_answer_is_in_doubt_until_its_target_answers_a_later_probe() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    let (number, sent_before) = (harness.orders()[0].number, harness.now);
    assert_eq!(
        harness.group.observation(harness.now).in_doubt.len(),
        1,
        "an action in flight is in doubt too"
    );
    harness
        .after(1_000)
        .on(Event::Finished { order: number, outcome: Outcome::InDoubt("no answer in time".into()) });
    assert_eq!(harness.group.observation(harness.now).in_doubt.len(), 1);
    harness.answer("redis-3");
    assert_eq!(
        harness.group.observation(harness.now).in_doubt.len(),
        1,
        "the answer of another member settles nothing"
    );
    harness.answer_probe_of("redis-2", sent_before);
    assert_eq!(
        harness.group.observation(harness.now).in_doubt.len(),
        1,
        "the answer to a probe from before the action settles nothing"
    );
    harness.on(Event::Reply(Reply {
        member: "redis-2".into(),
        sent: harness.now,
        answer: Err(Failed { kind: FailureKind::TimedOut, text: "no answer".into() }),
    }));
    assert_eq!(harness.group.observation(harness.now).in_doubt.len(), 1, "a failed probe shows nothing");
    harness.answer("redis-2");
    assert!(harness.group.observation(harness.now).in_doubt.is_empty());
}

#[test]
fn a_stage_in_flight_is_not_sent_again() {
    let mut harness = Harness::healthy(true);
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert_eq!(harness.orders().len(), 1);
    harness.after(10_000).on(Event::Tick);
    harness.answer("redis-3");
    assert_eq!((harness.orders().len(), harness.verdict()), (0, None));
}

#[test]
fn a_switchover_is_sent_once_on_the_connections_of_source_and_target() {
    let mut harness = Harness::healthy(true);
    harness.on(Event::Request(Request::Switchover(Some("redis-3".into()))));
    for id in ["redis-1", "redis-2", "redis-3"] {
        harness.answer(id);
    }
    let orders = harness.orders();
    assert!(
        matches!(&orders[0].action, Action::Handover(handover)
            if handover.source == "redis-1" && handover.target == "redis-3"),
        "{orders:?}"
    );
    assert_eq!(
        orders[0].links,
        [("redis-1".to_owned(), link("redis-1")), ("redis-3".to_owned(), link("redis-3"))]
    );
    assert!(harness.published().is_empty(), "a handover may be undone, so it is published when it is done");
    harness.after(3_000).on(Event::Finished {
        order: orders[0].number,
        outcome: Outcome::Done { note: String::new(), pause_us: Some(2_000) },
    });
    assert_eq!(harness.published(), [("redis-3".to_owned(), 2)]);
    assert_eq!(harness.group.observation(harness.now).switchover, None);
}

#[test]
fn a_switchover_that_cannot_be_done_is_refused_once_and_dropped() {
    let mut harness = Harness::healthy(true);
    harness.on(Event::Request(Request::Switchover(Some("redis-9".into()))));
    for id in ["redis-1", "redis-2", "redis-3"] {
        harness.answer(id);
    }
    assert_eq!(harness.verdict(), Some((Verdict::Refuse, "switchover-refused".into())));
    assert_eq!(harness.group.observation(harness.now).switchover, None);
}

#[test]
fn a_group_without_writes_is_probed_less_often() {
    let mut harness = Harness::healthy(true);
    let mut round = |written: u64| {
        for server in ["redis-1", "redis-2", "redis-3"] {
            harness.world.at(server).offset += written;
        }
        let rest_us = harness.wakes_in_us();
        harness.after(rest_us).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
        }
        harness.wakes_in_us()
    };
    assert_eq!(
        [round(0), round(0), round(9), round(9), round(0)],
        [100_000, 100_000, 25_000, 25_000, 100_000]
    );
}

#[test]
fn an_abdicated_master_is_replaced_after_100_ms_without_a_master() {
    let mut harness = Harness::healthy(true);
    let round = |harness: &mut Harness| {
        harness.after(25_000).on(Event::Tick);
        for id in ["redis-1", "redis-2", "redis-3"] {
            harness.answer(id);
        }
        harness.verdict().expect("a decision").1
    };
    // Another operator's handover, between its demotion and its promotion.
    harness.world.at("redis-1").follow_itself();
    assert_eq!((round(&mut harness), harness.orders().len()), ("confirming-abdication".into(), 0));
    harness.world.at("redis-1").role = redis_model::Role::Master;
    assert_eq!(round(&mut harness), "healthy");
    // It abdicates for good: the time starts again.
    harness.world.at("redis-1").follow_itself();
    for _ in 0..4 {
        assert_eq!((round(&mut harness), harness.orders().len()), ("confirming-abdication".into(), 0));
    }
    assert_eq!(round(&mut harness), "master-abdicated");
    assert_eq!(
        harness.orders().iter().map(promoted).collect::<Vec<_>>(),
        ["redis-1"],
        "the best heir of its own role"
    );
}

#[test]
fn a_paused_group_is_explained_and_left_alone() {
    let mut harness = Harness::healthy(true);
    let wanted = Box::new(Wanted { paused: true, ..harness.group.observation(harness.now).group });
    harness.on(Event::Wanted { wanted, parameters: "{}".into() });
    for id in ["redis-1", "redis-2", "redis-3"] {
        harness.answer(id);
    }
    harness.kill_master();
    harness.survivors_answer();
    harness.refuse("redis-1");
    assert_eq!((harness.verdict(), harness.orders().len()), (Some((Verdict::Act, "master-dead".into())), 0));
}

#[test]
fn the_first_reply_of_an_unchanged_offset_is_kept_until_the_offset_moves() {
    let mut harness = Harness::healthy(true);
    let earlier = |harness: &Harness| {
        let seen = harness.group.observation(harness.now);
        let reply = seen.instances[1]
            .replies
            .iter()
            .find(|reply| reply.command == "INFO replication")
            .expect("the standard reply")
            .clone();
        reply.earlier.map(|sample| (sample.age_us, matches!(sample.value, Value::Text(_))))
    };
    assert_eq!(earlier(&harness), None);
    let first = harness.now;
    harness.after(200_000).answer("redis-2");
    harness.after(200_000).answer("redis-2");
    let (age, is_text) = earlier(&harness).expect("it stands still");
    assert!(is_text && age >= first.age_us(harness.now), "{age}");
    harness.world.at("redis-2").offset = 1001;
    harness.answer("redis-2");
    assert_eq!(earlier(&harness), None);
}
