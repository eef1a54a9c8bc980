//! RESP2 text, read from its beginning: arrays and bulk strings, the only parts of the replies that are read.

/// What is left to read.
pub(super) struct Resp<'a>(pub(super) &'a str);

impl<'a> Resp<'a> {
    /// The number of elements of the array that begins here.
    pub(super) fn array(&mut self) -> Option<u64> {
        self.number('*')
    }

    /// The bulk string that stands here.
    pub(super) fn bulk(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number('$')?).ok()?;
        let (word, rest) = self.0.split_at_checked(length)?;
        self.0 = rest.strip_prefix("\r\n")?;
        Some(word)
    }

    fn number(&mut self, kind: char) -> Option<u64> {
        let (row, rest) = self.0.strip_prefix(kind)?.split_once('\n')?;
        let number = super::info::unsigned(row.strip_suffix('\r')?)?;
        self.0 = rest;
        Some(number)
    }
}

/// The rows of an array of flat arrays of names and values. None unless the reply is whole and of that shape:
/// a list that was cut looks like a shorter list.
pub(super) fn tables(resp: &str) -> Option<Vec<Vec<(&str, &str)>>> {
    let mut resp = Resp(resp);
    let mut rows = Vec::new();
    for _ in 0..resp.array()? {
        let mut row = Vec::new();
        for _ in 0..resp.array()? / 2 {
            row.push((resp.bulk()?, resp.bulk()?));
        }
        rows.push(row);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_rows_and_nothing_of_a_reply_that_was_cut() {
        let reply =
            "*2\r\n*4\r\n$4\r\nname\r\n$1\r\na\r\n$4\r\nport\r\n$4\r\n6379\r\n*2\r\n$4\r\nname\r\n$0\r\n\r\n";
        assert_eq!(tables(reply), Some(vec![vec![("name", "a"), ("port", "6379")], vec![("name", "")]]));
        assert_eq!(tables("*0\r\n"), Some(vec![]));
        for end in 0..reply.len() {
            assert_eq!(tables(&reply[..end]), None, "{end}");
        }
        for bad in
            ["", "*-1\r\n", "*1\r\n$1\r\na\r\n", "*99999999999999999999\r\n", "*1\r\n*2\r\n$9\r\nä\r\n"]
        {
            assert_eq!(tables(bad), None, "{bad:?}");
        }
    }
}
