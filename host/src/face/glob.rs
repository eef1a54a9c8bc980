//! The patterns of PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character that stands for itself.

/// Whether a channel matches a pattern. Takes no longer than the product of both lengths: of all stars that
/// could have taken more, only the last one needs to be tried again.
pub(super) fn matches(pattern: &str, channel: &str) -> bool {
    let (mut pattern, mut channel) = (pattern.as_bytes(), channel.as_bytes());
    // What stands behind the last star, and the channel as that star began to take it.
    let mut star = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            (pattern, star) = (rest, Some((rest, channel)));
            continue;
        }
        match (one(pattern, channel), star) {
            (Some((rest, later)), _) => (pattern, channel) = (rest, later),
            (None, _) if pattern.is_empty() && channel.is_empty() => return true,
            (None, Some((rest, [_, later @ ..]))) => {
                (pattern, channel, star) = (rest, later, Some((rest, later)));
            }
            (None, _) => return false,
        }
    }
}

/// What is left of both after one character. None: it does not match.
fn one<'p, 'c>(pattern: &'p [u8], channel: &'c [u8]) -> Option<(&'p [u8], &'c [u8])> {
    let (byte, later) = channel.split_first()?;
    let rest = match pattern {
        [b'?', rest @ ..] => rest,
        [b'[', rest @ ..] => class(rest, *byte)?,
        [b'\\', escaped, rest @ ..] if escaped == byte => rest,
        [b'\\', _, ..] => return None,
        [first, rest @ ..] if first == byte => rest,
        _ => return None,
    };
    Some((rest, later))
}

/// What stands behind the class, if the byte is in it. A class without an end ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_not, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut is_in = false;
    loop {
        match rest {
            [] => return (is_in != is_not).then_some(rest),
            [b']', rest @ ..] => return (is_in != is_not).then_some(rest),
            [b'\\', one, more @ ..] => (is_in, rest) = (is_in || *one == byte, more),
            [from, b'-', to, more @ ..] if *to != b']' => {
                let (low, high) = (from.min(to), from.max(to));
                (is_in, rest) = (is_in || (low..=high).contains(&&byte), more);
            }
            [one, more @ ..] => (is_in, rest) = (is_in || *one == byte, more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_redis() {
        for (pattern, channel, is_match) in [
            ("*", "+switch-master", true),
            ("*", "", true),
            ("+switch-master", "+switch-master", true),
            ("switch-master", "+switch-master", false),
            ("[-+]sdown", "+sdown", true),
            ("[-+]sdown", "-sdown", true),
            ("[-+]sdown", "sdown", false),
            ("[^-]sdown", "+sdown", true),
            ("[a-c]*", "b1", true),
            ("[a-c]*", "d1", false),
            ("?odown", "-odown", true),
            ("\\*", "*", true),
            ("\\*", "+slave", false),
            ("[", "", false),
            ("", "", true),
            ("", "+slave", false),
            ("+slave*", "+slave-reconf-done", true),
            ("*-*-done", "+slave-reconf-done", true),
            ("*master*x", "+switch-master", false),
        ] {
            assert_eq!(matches(pattern, channel), is_match, "{pattern} {channel}");
        }
    }
}
