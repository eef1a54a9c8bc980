//! A connection to a server or a Sentinel endpoint, word for word: replies as they come.

use super::SOON;
use redis::Value;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// A connection. Each wait ends after [`SOON`].
pub struct Wire {
    stream: Patient,
    /// Keeps what it has read and not given yet.
    parser: redis::Parser,
}

/// A stream with a timeout is interrupted by signals, such as that of a child's end.
struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(to) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Wire {
    /// To an address, as `HOST:PORT`. None: nobody listens.
    pub fn to(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        Some(Self { stream: Patient(stream), parser: redis::Parser::new() })
    }

    /// A command and its reply.
    pub fn ask(&mut self, words: &[&str]) -> Value {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request.push_str(&redis_model::says::bulk(word)));
        self.stream.0.write_all(request.as_bytes()).unwrap();
        self.next_reply()
    }

    /// What it is sent next.
    pub fn next_reply(&mut self) -> Value {
        self.parser.parse_value(&mut self.stream).unwrap()
    }
}
