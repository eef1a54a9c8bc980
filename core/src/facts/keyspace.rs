//! `INFO keyspace`: how much data there is.

use super::info::{Initials, info_fields_of, rows, unsigned};

/// All keys of all databases, from the `dbN:keys=…` rows. An empty server prints only the heading, so this is
/// `Some(0)` for every text that has the heading or a row, and `None` for a text that has neither: truncated,
/// or not this section.
pub fn keys(text: &str) -> Option<u64> {
    let mut sum = None;
    for (name, value) in info_fields_of(text, const { Initials::of(b"d") }) {
        let Some(number) = name.strip_prefix("db") else { continue };
        if unsigned(number).is_none() {
            continue;
        }
        let count = value.split(',').find_map(|pair| pair.strip_prefix("keys=")).and_then(unsigned)?;
        sum = Some(u64::saturating_add(sum.unwrap_or(0), count));
    }
    sum.or_else(|| rows(text).any(|row| row.trim_ascii_end().eq_ignore_ascii_case("# keyspace")).then_some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_databases_add_up() {
        assert_eq!(
            keys(
                "# Keyspace\r\ndb0:keys=10,expires=0,avg_ttl=0\r\ndb11:keys=5,expires=1,avg_ttl=7,\
                 subexpiry=0\r\n"
            ),
            Some(15)
        );
    }

    #[test]
    fn an_empty_server_has_none_and_a_foreign_text_says_nothing() {
        assert_eq!(keys("# Keyspace\r\n"), Some(0));
        assert_eq!(keys("# Server\r\nrun_id:a\r\n"), None);
        assert_eq!(keys(""), None);
    }

    #[test]
    fn a_row_that_cannot_be_read_makes_the_sum_unknown() {
        assert_eq!(keys("# Keyspace\r\ndb0:keys=10\r\ndb1:keys=-3\r\n"), None);
    }
}
