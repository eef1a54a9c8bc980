//! JSON text to values, as far as parameters need it: no fractions, no negative numbers. By hand, because
//! serde_json with the float formatting that it brings is 46 KiB of a component that may have 150.

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    /// In the order of the text.
    Object(Vec<(String, Json)>),
}

/// Parses the whole text.
///
/// # Errors
/// What was expected, and at which byte.
pub fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    let value = reader.value(DEPTH_MAX)?;
    reader.blanks();
    if reader.at == text.len() { Ok(value) } else { Err(reader.expected("the end")) }
}

/// Parameters are an object of lists of texts; deeper text is nothing that fits.
const DEPTH_MAX: u32 = 8;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: u32) -> Result<Json, String> {
        self.blanks();
        match self.bytes.get(self.at) {
            _ if depth == 0 => Err(self.expected("less nesting")),
            Some(b'{') => self
                .rows(b'}', |reader| {
                    reader.blanks();
                    let name = reader.text()?;
                    reader.blanks();
                    reader.take(b':')?;
                    Ok((name, reader.value(depth - 1)?))
                })
                .map(Json::Object),
            Some(b'[') => self.rows(b']', |reader| reader.value(depth - 1)).map(Json::List),
            Some(b'"') => self.text().map(Json::Text),
            Some(b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.expected("a value")),
        }
    }

    /// `{…}` or `[…]`: rows with commas between.
    fn rows<T>(&mut self, end: u8, row: impl Fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        self.at += 1;
        let mut rows = Vec::new();
        self.blanks();
        if self.take(end).is_ok() {
            return Ok(rows);
        }
        loop {
            rows.push(row(self)?);
            self.blanks();
            if self.take(end).is_ok() {
                return Ok(rows);
            }
            self.take(b',')?;
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.expected("\""))?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).map_err(|_| self.expected("text")),
                b'\\' => self.escape(&mut bytes)?,
                0..0x20 => return Err(self.expected("an escaped control character")),
                _ => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let escape = *self.bytes.get(self.at).ok_or_else(|| self.expected("an escape"))?;
        self.at += 1;
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let digits =
                    self.bytes.get(self.at..self.at + 4).and_then(|digits| core::str::from_utf8(digits).ok());
                let code =
                    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
                let code = code.ok_or_else(|| self.expected("four hexadecimal digits of one character"))?;
                self.at += 4;
                bytes.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.expected("an escape")),
        };
        bytes.push(plain);
        Ok(())
    }

    fn number(&mut self) -> Result<Json, String> {
        let mut number: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                .ok_or_else(|| self.expected("a smaller number"))?;
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'.' | b'e' | b'E') => Err(self.expected("a whole number")),
            Some(_) | None => Ok(Json::Number(number)),
        }
    }

    fn word(&mut self) -> Result<Json, String> {
        for (word, value) in [("true", Json::Flag(true)), ("false", Json::Flag(false)), ("null", Json::Null)]
        {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.expected("a value"))
    }

    fn blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        if self.bytes.get(self.at) != Some(&byte) {
            return Err(self.expected(char::from(byte).encode_utf8(&mut [0; 4])));
        }
        self.at += 1;
        Ok(())
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what} at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        let value = parse(r#" {"a": [1, "x\n\u00e9", true], "b": null, "c": {}} "#);
        let list = Json::List(vec![Json::Number(1), Json::Text("x\né".into()), Json::Flag(true)]);
        assert_eq!(
            value,
            Ok(Json::Object(vec![
                ("a".into(), list),
                ("b".into(), Json::Null),
                ("c".into(), Json::Object(vec![]))
            ]))
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, error) in [
            ("{", "expected \" at byte 1"),
            ("[1,]", "expected a value at byte 3"),
            ("-1", "expected a value at byte 0"),
            ("1.5", "expected a whole number at byte 1"),
            ("18446744073709551616", "expected a smaller number at byte 19"),
            ("\"a", "expected \" at byte 2"),
            ("1 1", "expected the end at byte 2"),
            (r#""\ud800""#, "expected four hexadecimal digits of one character at byte 3"),
            ("[[[[[[[[[1]]]]]]]]]", "expected less nesting at byte 8"),
        ] {
            assert_eq!(parse(text), Err(error.into()), "{text}");
        }
    }
}
