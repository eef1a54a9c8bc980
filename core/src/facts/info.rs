//! INFO text to fields: the rows of any section, in any order, whatever else stands between them.

/// The `name:value` rows of an INFO reply. Headings, blank rows and rows without a colon are skipped. The
/// value is everything behind the first colon, because IPv6 addresses and paths have colons of their own.
pub fn info_fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    rows(text).filter_map(split)
}

/// The same, of those rows only that begin with one of these letters. Nearly all of a decision's time is
/// spent with rows that no field is read from: they are not even searched for their colon.
pub(super) fn info_fields_of(text: &str, initials: Initials) -> impl Iterator<Item = (&str, &str)> {
    rows(text)
        .filter(move |row| row.as_bytes().first().is_some_and(|first| initials.has(*first)))
        .filter_map(split)
}

/// A set of small letters.
#[derive(Clone, Copy)]
pub(super) struct Initials(u32);

impl Initials {
    pub(super) const fn of(letters: &[u8]) -> Self {
        let (mut set, mut rest) = (0, letters);
        while let [letter, after @ ..] = rest {
            set |= 1 << (*letter - b'a');
            rest = after;
        }
        Self(set)
    }

    fn has(self, byte: u8) -> bool {
        let place = byte.wrapping_sub(b'a');
        place < 26 && self.0 >> place & 1 == 1
    }
}

/// The text between the line feeds.
pub(super) fn rows(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = position(text.as_bytes(), b'\n').unwrap_or(text.len());
        rest = text.get(at + 1..);
        text.get(..at)
    })
}

fn split(row: &str) -> Option<(&str, &str)> {
    if row.starts_with('#') {
        return None;
    }
    let at = position(row.as_bytes(), b':')?;
    // Indexing would say which character it would have cut: that costs 6 KiB of component.
    Some((row.get(..at)?, row.get(at + 1..)?.trim_ascii_end()))
}

/// Where this byte is first. Eight at a time, which the standard library does on machines of 64 bits only:
/// WebAssembly has 32.
fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let difference = u64::from_le_bytes(*word) ^ u64::from_ne_bytes([wanted; 8]);
        // The lowest set bit belongs to the first byte that is zero (Warren, "Hacker's Delight", 6-1).
        let zeros = difference.wrapping_sub(LOW) & !difference & HIGH;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|byte| *byte == wanted).map(|at| bytes.len() - tail.len() + at)
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
    fn a_byte_is_found_wherever_it_stands_first() {
        for length in 0..40 {
            let mut bytes = vec![b'\t'; length];
            assert_eq!(position(&bytes, b'\n'), None);
            for at in (0..length).rev() {
                // Above and beside the one that is looked for: neither its neighbour in value nor a high bit
                // hides it.
                bytes[at] = b'\n';
                bytes[at + 1..].fill(0x0b);
                assert_eq!(position(&bytes, b'\n'), Some(at), "{length} {at}");
                bytes[at] = 0x8a;
                assert_eq!(position(&bytes, b'\n'), None, "{length} {at}");
            }
        }
    }

    #[test]
    fn rows_are_as_the_standard_library_splits_them() {
        for text in ["", "\n", "a", "a\n", "\n\na", "näme:wört\r\n:\n#\n", "eleven byte\neleven byte\n"] {
            assert_eq!(rows(text).collect::<Vec<_>>(), text.split('\n').collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn only_wanted_initials_are_looked_at() {
        let rows: Vec<_> =
            info_fields_of("# Server\r\nrun_id:abc\r\nos:Linux\r\n\r\nuptime:7", Initials::of(b"ru"))
                .collect();
        assert_eq!(rows, [("run_id", "abc"), ("uptime", "7")]);
    }

    #[test]
    fn signs_overflow_and_blanks_are_absent() {
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        for bad in ["-1", "+1", "18446744073709551616", "", " 1", "1x", "0x1"] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
    }
}
