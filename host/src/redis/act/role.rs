//! The reply to ROLE. Parses; must not send a command.

use redis::Value;

/// A server's role at the moment of one ROLE command, which may be inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It accepts writes.
    Master {
        /// Bytes of its replication stream.
        offset: u64,
    },
    /// It follows another server.
    Replica {
        /// Host of its master, as given to REPLICAOF.
        host: String,
        /// Port of its master.
        port: u16,
        /// Processed bytes of the stream. None while its link is down.
        offset: Option<u64>,
    },
}

impl Role {
    /// None for a Sentinel's reply and for any other.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let Value::Array(items) = value else { return None };
        match (text(items.first()?)?.as_str(), items.as_slice()) {
            ("master", [_, Value::Int(offset), ..]) => {
                Some(Self::Master { offset: (*offset).try_into().ok()? })
            }
            ("slave", [_, host, Value::Int(port), _, Value::Int(offset), ..]) => Some(Self::Replica {
                host: text(host)?,
                port: (*port).try_into().ok()?,
                offset: (*offset).try_into().ok(),
            }),
            (_, _) => None,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Master { offset } => write!(f, "master at offset {offset}"),
            // While the link is down, ROLE reports offset -1.
            Self::Replica { host, port, offset: None } => {
                write!(f, "replica of {host} port {port}, link down")
            }
            Self::Replica { host, port, offset: Some(offset) } => {
                write!(f, "replica of {host} port {port} at offset {offset}")
            }
        }
    }
}

/// A bulk or simple string.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Okay => Some("OK".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(resp: &[u8]) -> Option<Role> {
        Role::parse(&redis::parse_redis_value(resp).unwrap())
    }

    #[test]
    fn masters_and_replicas_are_distinguished() {
        assert_eq!(
            parsed(b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n"),
            Some(Role::Master { offset: 3_129_659 })
        );
        assert_eq!(
            parsed(b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n$9\r\nconnected\r\n:-1\r\n"),
            Some(Role::Replica { host: "127.0.0.1".into(), port: 9000, offset: None })
        );
    }

    #[test]
    fn sentinels_errors_and_other_replies_have_no_role() {
        for resp in
            ["*2\r\n$8\r\nsentinel\r\n*0\r\n", "-ERR no\r\n", "*0\r\n", "*1\r\n$6\r\nmaster\r\n", "+OK\r\n"]
        {
            assert_eq!(parsed(resp.as_bytes()), None, "{resp}");
        }
    }
}
