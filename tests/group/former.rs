//! A Pod of the master is gone without an observed end, and another of its name came.

use super::{Harness, link};
use redis_operator::contract::{Address, Pod, Reply as ContractReply, Value};
use redis_operator::group::{Event, Member};

fn pod(uid: &str) -> Option<Pod> {
    Some(Pod {
        uid: uid.into(),
        ready: false,
        terminating: false,
        running: true,
        restarts: 0,
        started_age_us: None,
        node: None,
        node_ready: None,
        zone: None,
        revision: String::new(),
        revision_target: String::new(),
    })
}

/// The members of the harness, redis-1 of the Pod with that uid.
fn members(harness: &Harness, uid: &str) -> Vec<Member> {
    let of = |at: redis_operator::contract::Instance| Member {
        pod: (at.id == "redis-1").then(|| pod(uid)).flatten(),
        id: at.id,
        kind: at.kind,
        shard: at.shard,
        address: at.address,
        aliases: at.aliases,
        is_former: false,
    };
    harness.instances().into_iter().map(of).collect()
}

/// redis-1 as it was, under the name of a former Pod, and a new Pod in its place at another address.
fn replaced(harness: &Harness) -> Vec<Member> {
    let mut members = members(harness, "old");
    let former = Member { id: FORMER.into(), is_former: true, ..members[0].clone() };
    members[0].address = Address { host: "10.0.0.99".into(), port: 6379 };
    members[0].pod = pod("new");
    members.push(former);
    members
}

fn observed(harness: &Harness) -> Vec<String> {
    harness.group.observation(harness.now).instances.into_iter().map(|instance| instance.id).collect()
}

fn run_id(harness: &Harness, id: &str) -> Option<String> {
    let observation = harness.group.observation(harness.now);
    let instance = observation.instances.into_iter().find(|instance| instance.id == id)?;
    let is_server = |reply: &ContractReply| reply.command == "INFO server";
    match instance.replies.into_iter().find(is_server)?.newest?.value {
        Value::Text(text) => {
            text.text.lines().find_map(|line| Some(line.strip_prefix("run_id:")?.to_owned()))
        }
        _ => None,
    }
}

#[test]
fn a_former_process_is_observed_while_it_answers_itself_and_its_name_means_the_new_pod() {
    let mut harness = Harness::healthy(true);
    let known = members(&harness, "old");
    harness.on(Event::Members(known));
    harness.answer("redis-1");
    let old = run_id(&harness, "redis-1").expect("it answered");
    let next = replaced(&harness);
    harness.on(Event::Members(next));
    // What was known of the name belongs to the former process: the new Pod has said nothing yet.
    assert_eq!((run_id(&harness, FORMER), run_id(&harness, "redis-1")), (Some(old.clone()), None));
    harness.on(Event::Closed { member: FORMER.into(), link: link("redis-1") });
    assert_eq!(observed(&harness), ["redis-1", "redis-2", "redis-3"]);
    harness.answer_as(FORMER, "redis-1");
    assert_eq!((observed(&harness).len(), run_id(&harness, FORMER)), (4, Some(old)));
}

#[test]
fn another_process_at_the_address_of_a_former_one_is_no_member() {
    let mut harness = Harness::healthy(true);
    let known = members(&harness, "old");
    harness.on(Event::Members(known));
    harness.answer("redis-1");
    let next = replaced(&harness);
    harness.on(Event::Members(next));
    harness.answer_as(FORMER, "redis-2");
    assert_eq!(observed(&harness), ["redis-1", "redis-2", "redis-3"]);
    assert!(harness.orders().iter().all(|order| order.action.target() != FORMER));
}

const FORMER: &str = "redis-1@old";
