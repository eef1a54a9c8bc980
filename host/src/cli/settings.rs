//! The options of a group, shared by all commands that operate one.

use super::Exit;
use crate::contract::{Group, Preference, Topology};
use crate::group::Settings;
use clap::ValueEnum;
use std::time::Duration;

/// The settings of the group.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupSettings {
    /// Name of the group in logs and metrics
    #[arg(long, value_name = "NAME", default_value = "redis")]
    pub name: String,
    /// A server without a valid reply for this long hangs
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub down_after: Duration,
    /// Time between two rounds of probes while all is well, up to four times that without writes; a closed
    /// connection is noticed at once
    #[arg(long, value_name = "TIME", default_value = "25ms", value_parser = duration)]
    pub interval: Duration,
    /// Do not act while fewer members answer [default: 2, or 1 in a group of two]
    #[arg(long, value_name = "N")]
    pub min_size: Option<u16>,
    /// What to do about a silent master that cannot be reached
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Prefer::Availability)]
    pub prefer: Prefer,
    /// With `--prefer consistency`: lag after which a master without replicas refuses writes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub self_fence_lag: Duration,
    /// Parameters of the policy as JSON text; `policy inspect` prints their schema
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub parameters: String,
}

/// What to do about a silent master that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Prefer {
    /// Replace it at once; writes that it acknowledges meanwhile are lost.
    Availability,
    /// Let every master refuse writes without a replica, and replace it once it certainly does.
    Consistency,
}

impl GroupSettings {
    /// The settings for a group of so many members.
    ///
    /// # Errors
    /// [`Exit::Input`] for a number out of range.
    pub fn settings(&self, members: usize) -> Result<Settings, Exit> {
        let members_desired = u16::try_from(members)
            .map_err(|_| Exit::Input(format!("{members} members are too many: a group has 65535 at most")))?;
        let hang_limit_ms =
            u32::try_from(self.down_after.as_millis()).ok().filter(|ms| *ms >= HANG_LIMIT_MIN_MS);
        let hang_limit_ms = hang_limit_ms.ok_or_else(|| {
            Exit::Input(format!(
                "--down-after: give {HANG_LIMIT_MIN_MS}ms or more: the scheduler of a busy machine stops a \
                 process for less"
            ))
        })?;
        if self.interval > self.down_after / 2 {
            return Err(Exit::Input(format!(
                "--interval {:?}: give half of --down-after ({:?}) or less: a server that is not asked is not silent",
                self.interval, self.down_after
            )));
        }
        if self.min_size.is_some_and(|min| min == 0 || min > members_desired) {
            return Err(Exit::Input(format!(
                "--min-size: give 1 to {members_desired}, the number of members"
            )));
        }
        let self_fence_lag_s = (self.prefer == Prefer::Consistency)
            .then(|| u32::try_from(self.self_fence_lag.as_secs()).unwrap_or(u32::MAX).max(1));
        let prefer = match self.prefer {
            Prefer::Availability => Preference::Availability,
            Prefer::Consistency => Preference::Consistency,
        };
        let wanted = Group {
            namespace: String::new(),
            name: self.name.clone(),
            topology: Topology::Replication,
            members_desired,
            members_min: self.min_size,
            prefer,
            paused: false,
            hang_limit_ms,
            self_fence_lag_s,
            sentinel: None,
            cluster: None,
        };
        let interval_us = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX).max(1000);
        Ok(Settings { wanted, parameters: self.parameters.clone(), interval_us, records: Vec::new() })
    }
}

/// Parses a time such as `500us`, `300ms`, `1s`, `1.5s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number and us, ms, s, m or h, as in 300ms".into()),
    };
    let seconds = number
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0)
        .map(|number| number * factor);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a number and us, ms, s, m or h, as in 300ms".into())
}

/// Below this, the scheduler of a busy machine causes hangs.
const HANG_LIMIT_MIN_MS: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["300", "ms", "-1s", "1d", "", "1e999s", "nans"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
