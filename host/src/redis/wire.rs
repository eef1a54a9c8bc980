//! Parses RESP2 replies. Finds the end of an answer and its values; must not do I/O.
//!
//! The end is found first, in steps that resume where the last one stopped: each byte of an answer in a
//! thousand pieces is scanned once.

use redis::Value;

/// The scan of one answer so far.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Number of replies and array elements that are still missing.
    open: usize,
    /// Where the next one begins.
    at: usize,
    /// No line ends between `at` and here.
    scanned: usize,
}

/// The bytes are no RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoReply;

impl Scan {
    /// The scan of an answer with this number of replies.
    pub(super) fn new(replies: usize) -> Self {
        Self { open: replies, at: 0, scanned: 0 }
    }

    /// The length of the answer; `bytes` starts with it and may be longer. None: incomplete.
    pub(super) fn resume(&mut self, bytes: &[u8]) -> Result<Option<usize>, NoReply> {
        while self.open > 0 {
            let from = self.scanned.max(self.at);
            let Some(end) = bytes[from..].iter().position(|byte| *byte == b'\n').map(|place| from + place)
            else {
                self.scanned = bytes.len();
                return Ok(None);
            };
            let (mark, line) = head(&bytes[self.at..=end])?;
            let (behind, more) = match mark {
                b'$' => (length(line)?.map_or(0, |length| length + 2), 0),
                b'*' => (0, length(line)?.unwrap_or(0)),
                b':' => (0, number(line).map(|_| 0)?),
                b'+' | b'-' => (0, 0),
                _ => return Err(NoReply),
            };
            if bytes.len() < end + 1 + behind {
                return Ok(None);
            }
            self.at = end + 1 + behind;
            self.open = self.open - 1 + more;
        }
        Ok(Some(self.at))
    }
}

/// All replies of a complete answer.
pub(super) fn replies(mut bytes: &[u8]) -> Result<Vec<Value>, NoReply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        replies.push(value(&mut bytes, DEPTH_MAX)?);
    }
    Ok(replies)
}

fn value(bytes: &mut &[u8], depth: usize) -> Result<Value, NoReply> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(NoReply)?;
    let (whole, rest) = bytes.split_at(end + 1);
    *bytes = rest;
    let (mark, line) = head(whole)?;
    match mark {
        b'+' if line == b"OK" => Ok(Value::Okay),
        b'+' => Ok(Value::SimpleString(String::from_utf8_lossy(line).into_owned())),
        b'-' => error(line),
        b':' => number(line).map(Value::Int),
        b'$' => {
            let Some(length) = length(line)? else { return Ok(Value::Nil) };
            let (text, rest) = bytes.split_at_checked(length).ok_or(NoReply)?;
            *bytes = rest.strip_prefix(b"\r\n").ok_or(NoReply)?;
            Ok(Value::BulkString(text.to_vec()))
        }
        b'*' => {
            let Some(length) = length(line)? else { return Ok(Value::Nil) };
            let depth = depth.checked_sub(1).ok_or(NoReply)?;
            (0..length).map(|_| value(bytes, depth)).collect::<Result<_, _>>().map(Value::Array)
        }
        _ => Err(NoReply),
    }
}

/// The crate's error has no constructor; its parser makes one.
fn error(line: &[u8]) -> Result<Value, NoReply> {
    let text = String::from_utf8_lossy(line);
    match redis::parse_redis_value(format!("-{text}\r\n").as_bytes()) {
        Ok(error @ Value::ServerError(_)) => Ok(error),
        Ok(_) | Err(_) => Err(NoReply),
    }
}

/// The first byte of a line, and the rest without its line end.
fn head(line: &[u8]) -> Result<(u8, &[u8]), NoReply> {
    let line = line.strip_suffix(b"\r\n").ok_or(NoReply)?;
    line.split_first().map(|(mark, line)| (*mark, line)).ok_or(NoReply)
}

/// None: nil.
fn length(line: &[u8]) -> Result<Option<usize>, NoReply> {
    match number(line)? {
        -1 => Ok(None),
        length => {
            usize::try_from(length).ok().filter(|length| *length <= LENGTH_MAX).map(Some).ok_or(NoReply)
        }
    }
}

fn number(line: &[u8]) -> Result<i64, NoReply> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(NoReply)
}

/// Deeper than any reply to the host's commands; bounds the stack.
const DEPTH_MAX: usize = 32;

/// Far beyond the limit of an answer; keeps sums from overflowing.
const LENGTH_MAX: usize = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"+OK\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n*2\r\n*1\r\n+x\r\n$0\r\n\r\n-LOADING it loads\r\n";

    #[test]
    fn every_reply_is_read_as_the_crate_reads_it() {
        for reply in [
            "+OK\r\n",
            "+PONG\r\n",
            ":12\r\n",
            "$5\r\na\r\nbc\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*2\r\n*1\r\n+x\r\n$0\r\n\r\n",
            "-ERR no\r\n",
            "-NOAUTH\r\n",
        ] {
            assert_eq!(
                replies(reply.as_bytes()),
                Ok(vec![redis::parse_redis_value(reply.as_bytes()).unwrap()]),
                "{reply}"
            );
        }
        assert_eq!(replies(ANSWER).unwrap().len(), 6);
    }

    #[test]
    fn the_end_of_an_answer_is_found_in_any_pieces() {
        let more = [ANSWER, b"+next"].concat();
        assert_eq!(Scan::new(6).resume(&more), Ok(Some(ANSWER.len())));
        let mut scan = Scan::new(6);
        for cut in 0..ANSWER.len() {
            assert_eq!(scan.resume(&ANSWER[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(scan.resume(&more), Ok(Some(ANSWER.len())));
    }

    #[test]
    fn bytes_that_are_no_reply_are_refused() {
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            "+no end\n",
            ":x\r\n",
            "$-2\r\n",
            "*9999999999\r\n",
            "%1\r\n",
        ] {
            let scanned = Scan::new(1).resume(bytes.as_bytes());
            assert!(scanned == Err(NoReply) || replies(bytes.as_bytes()) == Err(NoReply), "{bytes}");
        }
        assert_eq!(replies("*1\r\n".repeat(100).as_bytes()), Err(NoReply));
    }
}
