//! What came of a change of master, or of a request for one, as the status has it: written when it has ended.

use crate::contract::{Decision, RequestState};
use crate::kubernetes::crd::{LastFailover, RedisStatus, Timeline};
use crate::report::MasterChange;

/// The status after a change of master has ended. Another one than the last is none of its business.
pub fn taken_over(before: RedisStatus, takeover: &MasterChange) -> RedisStatus {
    let MasterChange {
        source,
        target,
        meant_for: _,
        evidence: _,
        is_handover: _,
        known_loss_bytes,
        detect_us,
        decide_us,
        promote_us,
        repoint_us,
        pause_us,
    } = takeover;
    let number = |number: &u64| i64::try_from(*number).unwrap_or(i64::MAX);
    let timeline = Timeline {
        detect_microseconds: detect_us.as_ref().map(number),
        decide_microseconds: decide_us.as_ref().map(number),
        promote_microseconds: number(promote_us),
        repoint_microseconds: repoint_us.as_ref().map(number),
        pause_microseconds: pause_us.as_ref().map(number),
        known_loss_bytes: known_loss_bytes.as_ref().map(number),
    };
    let is_it = |last: &LastFailover| last.to == *target && last.from == *source;
    let told = |last: LastFailover| {
        if is_it(&last) { LastFailover { timeline: Some(timeline), ..last } } else { last }
    };
    RedisStatus { last_failover: before.last_failover.map(told), ..before }
}

/// The status after the Pods' labels followed that epoch. Labels that are mended later are no part of the
/// change.
pub fn labelled(before: RedisStatus, epoch: u64, publish_us: i64) -> RedisStatus {
    if !before.published.as_ref().is_some_and(|published| u64::try_from(published.epoch) == Ok(epoch)) {
        return before;
    }
    let told = |last: LastFailover| LastFailover {
        publish_microseconds: last.publish_microseconds.or(Some(publish_us)),
        ..last
    };
    RedisStatus { last_failover: before.last_failover.map(told), ..before }
}

/// Why the switchover that was requested cannot be done. None: it is done, or on its way.
pub fn refusal(decision: &Decision) -> Option<String> {
    let answer = decision.request.as_ref().filter(|answer| answer.state == RequestState::Refused)?;
    Some(answer.text.clone())
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;
    use crate::contract::{Evidence, Published};
    use crate::group::{Changed, Moment, Record};
    use k8s_openapi::jiff::Timestamp;

    fn record() -> Record {
        let (source, target, meant_for) = (Some("b".into()), "a".into(), "a".into());
        let changed =
            Changed { at: Moment::default(), age_us: 0, source, target, meant_for, evidence: Evidence::Dead };
        let published = Published {
            master: "a".into(),
            run_id: "r".into(),
            replid: "i".into(),
            offset: 7,
            epoch: 2,
            age_us: 0,
            node: None,
        };
        Record { shard: 0, published, lineage: vec![], position: None, last_failover: Some(changed) }
    }

    #[test]
    fn a_change_of_master_gets_its_times_when_it_has_ended_and_the_next_one_has_none_yet() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let takeover = MasterChange {
            source: Some("b".into()),
            target: "a".into(),
            meant_for: "a".into(),
            evidence: Evidence::Dead,
            is_handover: false,
            known_loss_bytes: Some(42),
            detect_us: None,
            decide_us: Some(600),
            promote_us: 300,
            repoint_us: Some(900),
            pause_us: None,
        };
        let told = |before, record: &Record, second| {
            labelled(taken_over(published(before, record, at(second)), &takeover), 2, 5_000)
        };
        let status = told(RedisStatus::default(), &record(), 100);
        let last = status.last_failover.clone().unwrap();
        let timeline = last.timeline.unwrap();
        assert_eq!(
            (last.publish_microseconds, timeline.decide_microseconds, timeline.known_loss_bytes),
            (Some(5_000), Some(600), Some(42))
        );
        // Told again, it is the same.
        assert_eq!(told(status.clone(), &record(), 200).last_failover, status.last_failover);
        assert_eq!(labelled(status.clone(), 2, 9_000), status);
        let mut next = record();
        (next.published.epoch, next.last_failover.as_mut().unwrap().target) = (3, "c".into());
        let next = told(status, &next, 300);
        let last = next.last_failover.as_ref().unwrap();
        assert_eq!((last.timeline.as_ref(), last.publish_microseconds), (None, None));
    }
}
