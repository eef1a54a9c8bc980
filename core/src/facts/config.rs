//! RESP2 text of a `CONFIG GET` reply to pairs.

use super::resp::Resp;

/// The directives and values of a flat array of bulk strings. Stops quietly at the first thing that is none:
/// a truncated reply gives its complete pairs.
pub fn config_pairs(resp: &str) -> Vec<(&str, &str)> {
    let mut resp = Resp(resp);
    if resp.array().is_none() {
        return Vec::new();
    }
    let pairs = std::iter::from_fn(|| Some((resp.bulk()?, resp.bulk()?)));
    pairs.collect()
}

/// Seconds of `repl-ping-replica-period` in such a reply.
pub fn heartbeat_s(resp: &str) -> Option<u64> {
    let pairs = config_pairs(resp);
    let found = pairs.iter().find(|(name, _)| *name == "repl-ping-replica-period")?;
    super::info::unsigned(found.1)
}

/// Whether a stream that grew by so many bytes in that time carried more than heartbeats. A heartbeat is 14
/// bytes (`*1\r\n$4\r\nPING\r\n`), at most one a second; twice that, and two more, leave no doubt.
pub fn is_more_than_heartbeats(bytes: u64, in_us: u64) -> bool {
    bytes > (in_us / 1_000_000).saturating_add(2).saturating_mul(28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_a_reply_and_the_complete_ones_of_a_cut_reply() {
        let reply =
            "*4\r\n$21\r\nmin-replicas-to-write\r\n$1\r\n1\r\n$20\r\nmin-replicas-max-lag\r\n$1\r\n2\r\n";
        assert_eq!(config_pairs(reply), [("min-replicas-to-write", "1"), ("min-replicas-max-lag", "2")]);
        assert_eq!(config_pairs(&reply[..40]), [("min-replicas-to-write", "1")]);
        for bad in ["", "*", "$1\r\na\r\n", "*1\r\n$99999999999999999999\r\n", "*2\r\n$-1\r\n$1\r\na\r\n"] {
            assert_eq!(config_pairs(bad), []);
        }
    }
}
