//! Reading an Observation, for any topology: replies by command, ids, the hang limit, sorting. Nothing here
//! judges.

use crate::contract::{Group, Instance, Observation, Reply, Sample, Value};
use crate::facts;
use std::cmp::Ordering;

/// Why no decision can rest on these instances: their ids do not tell them apart. None: they do.
pub fn fault_of_ids(observation: &Observation) -> Option<String> {
    let id = |index: usize| observation.instances[index].id.as_str();
    let order = sorted(observation.instances.len(), &|one, other| id(one).cmp(id(other)));
    if order.first().is_some_and(|&first| id(first).is_empty()) {
        return Some("an instance has an empty id".into());
    }
    order
        .windows(2)
        .find(|pair| id(pair[0]) == id(pair[1]))
        .map(|pair| format!("two instances have the id {}", id(pair[0])))
}

/// `hang_limit_ms` in the unit of ages.
pub fn hang_limit_us(group: &Group) -> u64 {
    u64::from(group.hang_limit_ms) * 1000
}

/// What an instance replied to a command. None: it was never asked.
pub fn reply<'a>(instance: &'a Instance, command: &str) -> Option<&'a Reply> {
    instance.replies.iter().find(|reply| reply.command == command)
}

/// The newest text reply to a command.
pub fn text<'a>(instance: &'a Instance, command: &str) -> Option<&'a str> {
    text_of(reply(instance, command)?.newest.as_ref()?)
}

/// A text sample, without a last row that was cut.
pub fn text_of(sample: &Sample) -> Option<&str> {
    match &sample.value {
        Value::Text(text) => Some(facts::whole_rows(&text.text, text.truncated)),
        Value::Integer(_) | Value::Nil(_) | Value::Nested(_) => None,
    }
}

/// The newest nested reply to a wanted command, as RESP2 text.
pub fn nested<'a>(instance: &'a Instance, command: &str) -> Option<&'a str> {
    match &reply(instance, command)?.newest.as_ref()?.value {
        Value::Nested(nested) => Some(&nested.resp),
        Value::Text(_) | Value::Integer(_) | Value::Nil(_) => None,
    }
}

/// The numbers below `count` in the order of `compare`. All sorting is done here: each instantiation of a
/// sort would be 8 KiB of the component.
pub fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.sort_unstable_by(|&one, &other| compare(one, other).then(one.cmp(&other)));
    numbers
}
