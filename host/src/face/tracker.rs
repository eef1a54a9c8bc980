//! The reports of one group, to what clients are told and to the events that say what changed.
//!
//! A change of master is told when the server's reply to the promotion has arrived, before anything is looked
//! at again: what Sentinel's leader does, and the earliest moment at which it is true.

use super::NAMELESS_US;
use super::event::{Event, Events};
use super::group::{Group, Names, Node};
use super::places::{Places, shown};
use crate::contract::{Action, Decision, Health, InstanceKind, Observation, Verdict};
use crate::group::{Moment, Outcome, Report};
use failover_core::facts::ReportedRole;

/// One group under the name that its clients use.
pub(super) struct Tracker {
    name: String,
    names: Names,
    /// As the servers themselves have it.
    group: Group,
    /// Where clients find the servers. None: at their own addresses.
    places: Option<Places>,
    /// No decision names a master, since then.
    nameless: Option<Moment>,
    /// Without another decision until then, nothing is seen of the group any more.
    until: Moment,
    /// The replicas have yet to follow the new master.
    is_ending: bool,
    /// When a promotion was last confirmed: what was heard before says nothing of who is master.
    promoted: Option<Moment>,
}

impl Tracker {
    pub fn new(name: String, names: Names) -> Self {
        let (group, until) = (Group::default(), Moment::default());
        Self { name, names, group, places: None, nameless: None, until, is_ending: false, promoted: None }
    }

    /// What clients are told now.
    pub fn group(&self, now: Moment) -> Group {
        let mut group = self.shown();
        if now >= self.until || self.nameless.is_some_and(|since| since.age_us(now) >= NAMELESS_US) {
            group.master = None;
        }
        group
    }

    /// Takes in where clients find the servers. Returns what subscribers are told.
    pub fn set_places(&mut self, places: Places) -> Vec<Event> {
        let before = self.shown();
        self.places = Some(places);
        self.changes(&before).all
    }

    /// The group by the addresses that clients dial.
    fn shown(&self) -> Group {
        shown(&self.group, self.places.as_ref())
    }

    /// What became of the group since then.
    fn changes(&self, before: &Group) -> Events<'_> {
        let (after, mut events) = (self.shown(), Events::of(&self.name));
        match (&before.master, &after.master) {
            (None, Some(master)) => events.master("+monitor", master),
            (Some(was), Some(master)) if was.member != master.member => {
                events.switched(was, master);
                after.replicas.iter().for_each(|replica| events.replica("+slave", replica, master));
            }
            // The same server at another address.
            (Some(was), Some(master)) if was.address() != master.address() => events.switched(was, master),
            _ => events.differences(before, &after),
        }
        events
    }

    /// Takes a report. Returns what subscribers are told.
    pub fn take(&mut self, now: Moment, report: &Report) -> Vec<Event> {
        match report {
            Report::Decided(decided) => self.decided(now, &decided.observation, &decided.decision),
            Report::Sent { action, .. } => self.sent(action),
            Report::Finished { action, outcome, .. } => self.finished(now, action, outcome),
            Report::Link { .. } | Report::Fault { .. } | Report::Held | Report::Withheld { .. } => vec![],
        }
    }

    fn decided(&mut self, now: Moment, observation: &Observation, decision: &Decision) -> Vec<Event> {
        self.until = Moment(now.0.saturating_add(decision.next_look_us).saturating_add(NAMELESS_US));
        let (before, was_shown) = (self.group.clone(), self.shown());
        let known = |id: &str| before.master.iter().chain(&before.replicas).find(|node| node.member == id);
        let mut nodes: Vec<Node> = vec![];
        for instance in observation.instances.iter().filter(|instance| instance.kind == InstanceKind::Redis) {
            if let Some(member) = decision.members.iter().find(|member| member.id == instance.id) {
                nodes.push(Node::of(instance, member, known(&instance.id), now, self.names));
            }
        }
        let is_news = |id: &&str| {
            let node = nodes.iter().find(|node| node.member == **id);
            self.promoted.is_none_or(|promoted| node.is_some_and(|node| node.heard > Some(promoted)))
        };
        let named = decision.master().filter(is_news);
        self.nameless = if named.is_some() { None } else { self.nameless.or(Some(now)) };
        // While nobody is master, the last one keeps its place, with the flags of what became of it.
        let id = named.or(before.master.as_ref().map(|master| master.member.as_str())).map(str::to_owned);
        let place = nodes.iter().position(|node| Some(&node.member) == id.as_ref());
        let master = place.map(|place| nodes.remove(place)).or_else(|| before.master.clone());
        let health = decision.members.iter().find(|member| Some(&member.id) == id.as_ref());
        let is_lost = health.is_some_and(|member| {
            matches!(member.health, Health::Silent | Health::Dead | Health::Abdicated | Health::Amnesic)
        });
        let epoch = observation.published().map_or(before.epoch, |published| published.epoch);
        self.group = Group {
            master,
            replicas: nodes,
            epoch: epoch.max(before.epoch),
            is_master_lost: is_lost && named.is_none_or(|_| decision.verdict != Verdict::Healthy),
            is_in_failover: before.is_in_failover,
            hang_limit_ms: observation.group.hang_limit_ms,
        };
        let mut masters = before.master.iter().zip(&self.group.master);
        if masters.any(|(was, master)| was.member != master.member) {
            self.group.is_in_failover = false;
        }
        let mut all = self.changes(&was_shown).all;
        if let (true, Verdict::Healthy) = (self.is_ending, decision.verdict) {
            self.is_ending = self.group.master.is_none();
            let mut events = Events::of(&self.name);
            self.shown().master.iter().for_each(|master| events.master("+failover-end", master));
            all.extend(events.all);
        }
        all
    }

    fn sent(&mut self, action: &Action) -> Vec<Event> {
        self.group.is_in_failover |= action.new_master().is_some() && self.group.master.is_some();
        let mut events = Events::of(&self.name);
        let group = self.shown();
        let Some(master) = &group.master else { return vec![] };
        match (action, action.new_master()) {
            (_, Some(target)) => {
                events.master("+try-failover", master);
                events.master("+elected-leader", master);
                if let Some(target) = group.replicas.iter().find(|replica| replica.member == target) {
                    events.replica("+selected-slave", target, master);
                }
            }
            (Action::Follow(follow), None) => {
                let replica = group.replicas.iter().find(|replica| replica.member == follow.id);
                if let Some(replica) = replica {
                    let was_master = matches!(replica.role, Some((ReportedRole::Master, _)));
                    let channel = if was_master { "+convert-to-slave" } else { "+slave-reconf-sent" };
                    events.replica(channel, replica, master);
                }
            }
            (_, None) => {}
        }
        events.all
    }

    fn finished(&mut self, now: Moment, action: &Action, outcome: &Outcome) -> Vec<Event> {
        let Some(target) = action.new_master() else { return vec![] };
        self.group.is_in_failover = false;
        let before = self.shown();
        if !matches!(outcome, Outcome::Done { .. }) {
            let mut events = Events::of(&self.name);
            before.master.iter().for_each(|was| events.master("-failover-abort-slave-timeout", was));
            return events.all;
        }
        let place = self.group.replicas.iter().position(|replica| replica.member == target);
        let (Some(place), Some(was)) = (place, self.group.master.clone()) else { return vec![] };
        let mut master = self.group.replicas.remove(place);
        (master.role, master.follows) = (Some((ReportedRole::Master, now)), None);
        self.group.replicas.push(was);
        self.group.replicas.sort_by(|one, other| one.member.cmp(&other.member));
        self.group.master = Some(master);
        (self.group.is_master_lost, self.nameless, self.is_ending) = (false, None, true);
        self.group.epoch += 1;
        self.promoted = Some(now);
        let mut events = Events::of(&self.name);
        let promoted = before.replicas.iter().find(|replica| replica.member == target);
        if let (Some(was), Some(promoted)) = (&before.master, promoted) {
            events.replica("+promoted-slave", promoted, was);
        }
        let changes = self.changes(&before).all;
        events.all.into_iter().chain(changes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::places::tests::node;

    #[test]
    fn a_master_that_gets_another_place_is_told_as_a_switch_and_one_without_a_place_is_not_named() {
        let mut tracker = Tracker::new("mymaster".into(), Names::Addresses);
        tracker.group.master = Some(node("a", "10.0.0.1", None));
        tracker.until = Moment(1);
        let at = |port| Places::from([("a".to_owned(), ("lb.example.com".to_owned(), port))]);
        let told = |tracker: &mut Tracker, places| {
            let events = tracker.set_places(places);
            events.iter().map(|event| format!("{} {}", event.channel, event.message)).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut tracker, Places::new()), [""; 0]);
        assert_eq!(tracker.group(Moment(0)).master, None);
        assert_eq!(told(&mut tracker, at(1)), ["+monitor master mymaster lb.example.com 1"]);
        assert_eq!(told(&mut tracker, at(1)), [""; 0]);
        let switched = "+switch-master mymaster lb.example.com 1 lb.example.com 2";
        assert_eq!(told(&mut tracker, at(2)), [switched]);
        assert_eq!(tracker.group(Moment(0)).master.unwrap().port, 2);
    }
}
