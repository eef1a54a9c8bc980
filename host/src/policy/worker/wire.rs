//! What passes between the operator and a worker process: one question, one answer, each a frame of length,
//! kind and content. Either side bounds what it reads before it allocates. Knows neither processes nor
//! policies.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// What a frame is. Its number is the byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Question: compile a component. Content: its bytes. Answer: compiled code.
    Compile = 1,
    /// Question: make compiled code ready to be called. Answer: the names of its exports.
    Load = 2,
    /// Question: describe. Answer: a description, or a fault.
    Describe = 3,
    /// Question: decide. Content: an observation. Answer: a decision, or a fault.
    Decide = 4,
    /// Answer: what was asked for.
    Done = 5,
    /// Answer: the component is refused.
    Refused = 6,
    /// Answer: the code was compiled by another version of this program, or for another processor.
    Stale = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Compile, Kind::Load, Kind::Describe, Kind::Decide, Kind::Done, Kind::Refused, Kind::Stale]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The content of a frame to send.
pub(super) enum Content<'a> {
    /// As it is.
    Bytes(&'a [u8]),
    /// In the compact form of postcard: 4 µs for an observation of three members, where JSON takes 40.
    Value(&'a dyn erased::Encode),
}

/// Why a frame did not pass. `E`: why the waiting was given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WireError<E> {
    /// The other side is gone.
    Closed,
    /// It sent something else than a frame of the bounds.
    Garbled,
    /// This side gave up.
    GaveUp(E),
}

/// One end.
pub(super) struct Wire {
    stream: UnixStream,
    /// The last frame that was read.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Wire {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, inbox: Vec::new(), outbox: Vec::new() }
    }

    /// Sends a frame. `go_on` is asked whenever the other side does not read for the stream's timeout.
    pub fn send<E>(
        &mut self,
        kind: Kind,
        content: &Content<'_>,
        go_on: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<(), WireError<E>> {
        self.outbox.clear();
        self.outbox.extend([0; HEADER_BYTES]);
        let further: &[u8] = match content {
            Content::Bytes(bytes) => bytes,
            Content::Value(value) => {
                self.outbox = value.encode(std::mem::take(&mut self.outbox)).ok_or(WireError::Garbled)?;
                &[]
            }
        };
        let length = self.outbox.len() - HEADER_BYTES + further.len();
        let length = u32::try_from(length).map_err(|_| WireError::Garbled)?;
        self.outbox[..4].copy_from_slice(&length.to_le_bytes());
        self.outbox[4] = kind as u8;
        let sent = write(&mut self.stream, &self.outbox, go_on)
            .and_then(|()| write(&mut self.stream, further, go_on));
        self.outbox.truncate(KEPT_BYTES);
        self.outbox.shrink_to(KEPT_BYTES);
        sent
    }

    /// Waits for a frame of at most so many bytes. `go_on` is asked whenever nothing comes for the stream's
    /// timeout.
    pub fn receive<E>(
        &mut self,
        bytes_max: usize,
        go_on: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<(Kind, &[u8]), WireError<E>> {
        // Grows as bytes arrive, not as the header promises.
        self.inbox.truncate(KEPT_BYTES);
        self.inbox.shrink_to(KEPT_BYTES);
        self.inbox.resize(KEPT_BYTES, 0);
        let (mut filled, mut wanted) = (0, HEADER_BYTES);
        while filled < wanted {
            if filled == self.inbox.len() {
                let longer = (self.inbox.len() * 2).min(wanted);
                self.inbox.resize(longer, 0);
            }
            match self.stream.read(&mut self.inbox[filled..]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(count) => filled += count,
                Err(error) => failed(&error, go_on)?,
            }
            if wanted == HEADER_BYTES && filled >= HEADER_BYTES {
                let length = u32::from_le_bytes([self.inbox[0], self.inbox[1], self.inbox[2], self.inbox[3]]);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > bytes_max {
                    return Err(WireError::Garbled);
                }
                wanted = HEADER_BYTES + length;
            }
        }
        match Kind::of(self.inbox[4]) {
            Some(kind) if filled == wanted => Ok((kind, &self.inbox[HEADER_BYTES..wanted])),
            Some(_) | None => Err(WireError::Garbled),
        }
    }
}

fn write<E>(
    stream: &mut UnixStream,
    mut bytes: &[u8],
    go_on: &mut dyn FnMut() -> Result<(), E>,
) -> Result<(), WireError<E>> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(WireError::Closed),
            Ok(count) => bytes = &bytes[count..],
            Err(error) => failed(&error, go_on)?,
        }
    }
    Ok(())
}

fn failed<E>(error: &std::io::Error, go_on: &mut dyn FnMut() -> Result<(), E>) -> Result<(), WireError<E>> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => go_on().map_err(WireError::GaveUp),
        ErrorKind::Interrupted => Ok(()),
        // A reset, a broken pipe: whatever it is, this end is of no more use.
        _ => Err(WireError::Closed),
    }
}

/// Any value that postcard takes, behind a pointer.
pub(super) mod erased {
    use serde::Serialize;

    pub trait Encode {
        /// Appends the value. None: it has no such form.
        fn encode(&self, to: Vec<u8>) -> Option<Vec<u8>>;
    }

    impl<T: Serialize> Encode for T {
        fn encode(&self, to: Vec<u8>) -> Option<Vec<u8>> {
            postcard::to_extend(self, to).ok()
        }
    }
}

/// Length in four bytes, little end first, and kind.
const HEADER_BYTES: usize = 5;
/// An observation of some dozen members. More is given back after the frame.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one), Wire::new(other))
    }

    fn always() -> Result<(), ()> {
        Ok(())
    }

    #[test]
    fn a_frame_arrives_as_it_was_sent_and_larger_ones_after_it_too() {
        let (mut one, mut other) = pair();
        for length in [0, 1, KEPT_BYTES - HEADER_BYTES, KEPT_BYTES, 3 * KEPT_BYTES + 1, 7] {
            let bytes = vec![7; length];
            std::thread::scope(|scope| {
                scope.spawn(|| one.send(Kind::Compile, &Content::Bytes(&bytes), &mut always).unwrap());
                assert_eq!(other.receive(length, &mut always).unwrap(), (Kind::Compile, &bytes[..]));
            });
        }
        one.send(Kind::Decide, &Content::Value(&("a", 1_u64)), &mut always).unwrap();
        let (kind, content) = other.receive(100, &mut always).unwrap();
        assert_eq!((kind, postcard::from_bytes(content)), (Kind::Decide, Ok(("a", 1_u64))));
    }

    #[test]
    fn a_longer_frame_an_unknown_kind_and_a_further_byte_are_garbled() {
        for sent in [&[2, 0, 0, 0, 5, 1, 1][..], &[0, 0, 0, 0, 99], &[1, 0, 0, 0, 5, 1, 1]] {
            let (one, mut other) = pair();
            (&one.stream).write_all(sent).unwrap();
            assert_eq!(other.receive(1, &mut always), Err(WireError::Garbled), "{sent:?}");
        }
    }

    #[test]
    fn half_a_frame_and_then_the_end_is_closed_and_silence_is_given_up() {
        let (one, mut other) = pair();
        other.stream.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
        (&one.stream).write_all(&[9, 0, 0]).unwrap();
        assert_eq!(other.receive(100, &mut || Err("enough")), Err(WireError::GaveUp("enough")));
        (&one.stream).write_all(&[0, 5, 1]).unwrap();
        drop(one);
        assert_eq!(other.receive(100, &mut always), Err(WireError::Closed));
    }
}
