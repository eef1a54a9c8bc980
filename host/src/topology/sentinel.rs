//! Sentinels in a group of topology `sentinel`: the fingerprint of their replies, and which of their events
//! are worth a round of probes. Must not judge.

use std::hash::{Hash, Hasher};

/// Hashes what a decision may turn on in the rows of a Sentinel: everything but the fields that count
/// milliseconds, pending commands and bytes of the stream, which change in every reply. None: not the reply
/// of a Sentinel.
pub(super) fn read(command: &str, resp: &str, hasher: &mut impl Hasher) -> Option<()> {
    if !command.starts_with("SENTINEL ") {
        return None;
    }
    let mut is_value_of_clock = false;
    for line in resp.split("\r\n") {
        // Each word of a row is a bulk string: a line with its length, then the word.
        if line.starts_with(['$', '*']) {
            continue;
        }
        if !std::mem::take(&mut is_value_of_clock) {
            is_value_of_clock = CLOCKS.iter().any(|clock| line.ends_with(clock));
            line.hash(hasher);
        }
    }
    Some(())
}

/// Whether an event is about that master. TILT is about all.
pub fn is_about(channel: &str, text: &str, master_name: &str) -> bool {
    channel.ends_with("tilt") || text.split(' ').any(|word| word == master_name)
}

/// How the names of those fields of `sentinel.c`, `addReplySentinelRedisInstance`, end that move by
/// themselves.
const CLOCKS: [&str; 12] = [
    "info-refresh",
    "last-hello-message",
    "last-ok-ping-reply",
    "last-ping-reply",
    "last-ping-sent",
    "link-pending-commands",
    "link-refcount",
    "master-link-down-time",
    "o-down-time",
    "repl-offset",
    "role-reported-time",
    "s-down-time",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    fn fingerprint(fields: &[(&str, &str)]) -> u64 {
        let word = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
        let words: String = fields.iter().flat_map(|(name, value)| [word(name), word(value)]).collect();
        let mut hasher = DefaultHasher::new();
        let resp = format!("*1\r\n*{}\r\n{words}", fields.len() * 2);
        assert!(read("SENTINEL MASTERS", &resp, &mut hasher).is_some());
        hasher.finish()
    }

    #[test]
    fn clocks_do_not_count_and_flags_addresses_and_epochs_do() {
        let row = [("name", "m"), ("last-ping-reply", "7"), ("flags", "master"), ("config-epoch", "3")];
        let with = |place: usize, value: &'static str| {
            let mut row = row;
            row[place].1 = value;
            fingerprint(&row)
        };
        assert_eq!(with(1, "8"), fingerprint(&row));
        for (place, value) in [(0, "n"), (2, "master,s_down"), (3, "4")] {
            assert_ne!(with(place, value), fingerprint(&row), "{value}");
        }
    }

    #[test]
    fn an_event_is_about_the_master_that_it_names_as_a_word() {
        for text in [
            "m 10.0.0.1 6379 10.0.0.2 6379",
            "master m 10.0.0.1 6379",
            "sentinel a 10.0.0.1 26379 @ m 10.0.0.2 6379",
        ] {
            assert!(is_about("+switch-master", text, "m"), "{text}");
            assert!(!is_about("+switch-master", text, "n"), "{text}");
        }
        assert!(is_about("+tilt", "#tilt mode entered", "n") && !is_about("+odown", "master mm 1 2", "m"));
    }

    #[test]
    fn other_replies_are_none_of_a_sentinel() {
        assert!(read("CLUSTER SLOTS", "*0\r\n", &mut DefaultHasher::new()).is_none());
    }
}
