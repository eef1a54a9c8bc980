//! INFO text to fields: the rows of any section, in any order, whatever else stands between them.

/// The `name:value` rows of an INFO reply. Headings, blank rows and rows without a colon are skipped. The value is everything
/// behind the first colon, because IPv6 addresses and paths have colons of their own.
///
/// Nearly all of a decision's time is spent here, so it searches for single bytes only.
pub fn info_fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('\n').filter(|row| !row.starts_with('#')).filter_map(|row| row.split_once(':')).map(|(name, value)| (name, value.trim_ascii_end()))
}

/// An unsigned decimal. A sign, an overflow or anything else is `None`: absent, not zero.
pub(super) fn unsigned(value: &str) -> Option<u64> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) { value.parse().ok() } else { None }
}

/// A yes-or-no field, `1` or `0`.
pub(super) fn flag(value: &str) -> Option<bool> {
    match value {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_at_cr_lf_or_lf_and_headings_are_skipped() {
        let rows: Vec<_> = info_fields("# Server\r\nrun_id:abc\r\n\r\nos:Linux: a b \nno colon\n").collect();
        assert_eq!(rows, [("run_id", "abc"), ("os", "Linux: a b")]);
    }

    #[test]
    fn signs_overflow_and_blanks_are_absent() {
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        for bad in ["-1", "+1", "18446744073709551616", "", " 1", "1x", "0x1"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
    }
}
