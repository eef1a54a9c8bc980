//! Requests out of bytes: arrays of bulk strings, as every client sends them.

/// The first request and its length. None: it is not all there yet.
///
/// # Errors
/// What is no such array.
pub fn request(bytes: &[u8]) -> Result<Option<(Vec<String>, usize)>, NoRequest> {
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(length) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        let Some(word) = bytes.get(at..at + length + 2) else { return Ok(None) };
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        at += length + 2;
    }
    Ok(Some((words, at)))
}

/// It does not speak RESP.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRequest;

fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Result<Option<usize>, NoRequest> {
    let rest = &bytes[*at..];
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let digits = rest[..end].strip_prefix(&[mark]).ok_or(NoRequest)?;
    let number: usize = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number <= LENGTH_MAX)
        .ok_or(NoRequest)?;
    *at += end + 2;
    Ok(Some(number))
}

/// No operator sends more.
const LENGTH_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_all_of_it_is_there() {
        let bytes = b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n*1\r\n";
        let first = bytes.len() - 4;
        assert_eq!(request(bytes), Ok(Some((vec!["INFO".into(), "server".into()], first))));
        for cut in 0..first {
            assert_eq!(request(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(request(b"GET / HTTP/1.1\r\n"), Err(NoRequest));
    }
}
