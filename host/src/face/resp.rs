//! Requests out of bytes, and replies as bytes of RESP2 or RESP3.

use std::io::Write as _;

/// A reply, and what is pushed to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(&'static str),
    /// With its code: `ERR …`.
    Error(String),
    Integer(i64),
    Text(String),
    /// No array: RESP2 has a null of each kind.
    NoArray,
    /// No text.
    NoText,
    Array(Vec<Reply>),
    /// Names and values; in RESP2 one flat array.
    Map(Vec<(Reply, Reply)>),
    /// Out of turn: to a subscriber.
    Push(Vec<Reply>),
}

impl Reply {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of texts.
    pub fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::Array(texts.into_iter().map(Self::Text).collect())
    }

    /// Appends the bytes, in version 2 or 3 of the protocol.
    pub fn write(&self, version: u8, to: &mut Vec<u8>) {
        let is_3 = version == 3;
        // A Vec takes every byte.
        let _ = match self {
            Self::Status(text) => write!(to, "+{text}\r\n"),
            Self::Error(text) => write!(to, "-{}\r\n", text.replace(['\r', '\n'], " ")),
            Self::Integer(number) => write!(to, ":{number}\r\n"),
            Self::Text(text) => write!(to, "${}\r\n{text}\r\n", text.len()),
            Self::NoArray | Self::NoText if is_3 => write!(to, "_\r\n"),
            Self::NoArray => write!(to, "*-1\r\n"),
            Self::NoText => write!(to, "$-1\r\n"),
            Self::Array(all) => return many(b'*', all, version, to),
            Self::Push(all) => return many(if is_3 { b'>' } else { b'*' }, all, version, to),
            Self::Map(pairs) => {
                let count = if is_3 { pairs.len() } else { 2 * pairs.len() };
                let _ = write!(to, "{}{count}\r\n", if is_3 { '%' } else { '*' });
                pairs.iter().for_each(|(name, value)| {
                    name.write(version, to);
                    value.write(version, to);
                });
                return;
            }
        };
    }
}

fn many(mark: u8, all: &[Reply], version: u8, to: &mut Vec<u8>) {
    let _ = write!(to, "{}{}\r\n", char::from(mark), all.len());
    all.iter().for_each(|one| one.write(version, to));
}

/// The first request of some bytes and its length. None: it is not all there yet.
///
/// # Errors
/// In Redis' words, what is no request, or too long a one.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(Vec<String>, usize)>, String> {
    let found = match bytes.first() {
        None => None,
        Some(b'*') => array(bytes)?,
        Some(_) => inline(bytes),
    };
    if found.is_none() && bytes.len() >= REQUEST_BYTES_MAX {
        return Err(format!("ERR Protocol error: a command of more than {} KiB", REQUEST_BYTES_MAX >> 10));
    }
    Ok(found)
}

fn array(bytes: &[u8]) -> Result<Option<(Vec<String>, usize)>, String> {
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(length) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        let Some(word) = bytes.get(at..at + length + 2) else { return Ok(None) };
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        at += length + 2;
    }
    Ok(Some((words, at)))
}

/// A line of words, as people type it.
fn inline(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&bytes[..end]);
    Some((line.split_ascii_whitespace().map(str::to_owned).collect(), end + 1))
}

fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Result<Option<usize>, String> {
    let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    if rest[0] != mark {
        return Err(format!(
            "ERR Protocol error: expected '{}', got '{}'",
            char::from(mark),
            char::from(rest[0])
        ));
    }
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let digits = std::str::from_utf8(&rest[1..end]).ok();
    let number = digits.and_then(|digits| digits.parse::<i64>().ok());
    let number = number.and_then(|number| usize::try_from(number.max(0)).ok());
    let number = number.filter(|number| *number < REQUEST_BYTES_MAX);
    *at += end + 2;
    number.map(Some).ok_or_else(|| "ERR Protocol error: invalid length".into())
}

/// A look-up has fewer than a hundred.
const REQUEST_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_all_of_it_is_there() {
        let bytes = b"*2\r\n$8\r\nSENTINEL\r\n$7\r\nmasters\r\nPING\r\n";
        let first = bytes.len() - 6;
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(request(bytes), Ok(Some((words(&["SENTINEL", "masters"]), first))));
        assert_eq!(request(&bytes[first..]), Ok(Some((words(&["PING"]), 6))));
        for cut in 0..first {
            assert_eq!(request(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(request(b"*1\r\n:5\r\n"), Err("ERR Protocol error: expected '$', got ':'".into()));
        assert_eq!(request(b"*1\r\n$99999999\r\n"), Err("ERR Protocol error: invalid length".into()));
        assert!(request(&vec![b'x'; REQUEST_BYTES_MAX]).is_err());
    }

    #[test]
    fn a_map_is_a_flat_array_before_version_3() {
        let map =
            Reply::Map(vec![(Reply::text("port"), Reply::Integer(1)), (Reply::text("x"), Reply::NoArray)]);
        let bytes = |version| {
            let mut bytes = vec![];
            map.write(version, &mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(bytes(2), "*4\r\n$4\r\nport\r\n:1\r\n$1\r\nx\r\n*-1\r\n");
        assert_eq!(bytes(3), "%2\r\n$4\r\nport\r\n:1\r\n$1\r\nx\r\n_\r\n");
    }
}
