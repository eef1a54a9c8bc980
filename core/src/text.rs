//! Sentences for people, within the bounds that hosts put on the texts of a policy: one line of plain text.
//! They carry words of servers and long lists of names, so each is cut and cleaned once, at the end.

/// At most [`BYTES_MAX`] bytes, without control characters.
pub fn tidied(text: String) -> String {
    let is_plain = |byte: u8| (b' '..0x7f).contains(&byte);
    if text.len() <= BYTES_MAX && text.bytes().all(is_plain) {
        return text;
    }
    let mut tidy = String::with_capacity(text.len().min(BYTES_MAX));
    for letter in text.chars() {
        if tidy.len() + letter.len_utf8() > BYTES_MAX - CUT.len_utf8() {
            tidy.push(CUT);
            break;
        }
        tidy.push(if letter.is_control() { ' ' } else { letter });
    }
    tidy
}

/// As the reference host bounds every text.
const BYTES_MAX: usize = 1 << 10;
const CUT: char = '…';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        let is_bounded = |text: &str| text.len() <= BYTES_MAX && !text.chars().any(char::is_control);
        assert_eq!(tidied("redis-1 is master".into()), "redis-1 is master");
        assert_eq!(tidied("ERR \u{1b}[31mno\r\n\u{85}é".into()), "ERR  [31mno   é");
        for text in ["x".repeat(5_000), "é…\u{10ffff}".repeat(700), "\n".repeat(2_000)] {
            let tidy = tidied(text);
            assert!(is_bounded(&tidy) && tidy.len() > BYTES_MAX - 8 && tidy.ends_with(CUT), "{}", tidy.len());
        }
    }
}
