//! A link to a server that is no Redis, or a hostile one.

use super::rig::Probed;
use redis_operator::contract::FailureKind;
use redis_operator::redis::Endpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A listener that treats every connection the same.
pub async fn stranger<F, Fut>(treat: F) -> Endpoint
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    Endpoint { host: "127.0.0.1".into(), port }
}

/// Reads the question, answers with `words`, and closes.
async fn saying(words: &'static [u8]) -> Endpoint {
    stranger(move |mut stream| async move {
        let mut question = [0; 4096];
        let _ = stream.read(&mut question).await;
        let _ = stream.write_all(words).await;
    })
    .await
}

#[tokio::test]
async fn an_http_server_speaks_another_protocol() {
    let at = saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let (kind, text) = Probed::new(&at).failure().await;
    assert!(
        kind == FailureKind::ProtocolError && text.contains("HTTP/1.1 400 Bad Request"),
        "{kind:?} {text}"
    );
}

#[tokio::test]
async fn garbage_and_broken_resp_are_protocol_errors() {
    for words in [&b"\x00\x01\x02"[..], b"$abc\r\n", b"*1\r\n?\r\n", b":12x\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"]
    {
        let (kind, text) = Probed::new(&saying(words).await).failure().await;
        assert!(
            kind == FailureKind::ProtocolError && text.contains("does not speak the Redis protocol"),
            "{words:?}: {kind:?} {text}"
        );
    }
}

#[tokio::test]
async fn a_connection_closed_before_any_reply_proves_nothing() {
    let (kind, _) = Probed::new(&saying(b"").await).failure().await;
    assert_eq!(kind, FailureKind::Reset);
    let (kind, _) = Probed::new(&saying(b"$5\r\nhel").await).failure().await;
    assert_eq!(kind, FailureKind::Reset, "half a reply is not an answer");
}

#[tokio::test]
async fn replies_of_loading_and_busy_servers_are_answers() {
    let at = saying(b"-LOADING a\r\n-LOADING a\r\n-BUSY b\r\n-ERR c\r\n").await;
    let (_, replies) = Probed::new(&at).answer().await;
    let kinds: Vec<_> = replies.0.into_iter().map(|(_, reply)| reply.unwrap_err().kind).collect();
    assert_eq!(
        kinds,
        [FailureKind::Loading, FailureKind::Loading, FailureKind::Busy, FailureKind::ErrorReply]
    );
}

#[tokio::test]
async fn a_reply_without_an_end_is_cut_off() {
    // A bulk string of 1 GiB; nested lists without an end; a line without an end.
    for opening in [&b"$1073741824\r\n"[..], b"*1073741824\r\n", b"+"] {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let at = stranger(move |mut stream| {
            let count = Arc::clone(&count);
            async move {
                let body =
                    if opening[0] == b'*' { b":1\r\n".repeat(16 * 1024) } else { vec![b'x'; 64 * 1024] };
                let _ = stream.write_all(opening).await;
                while stream.write_all(&body).await.is_ok() {
                    count.fetch_add(body.len(), Ordering::Relaxed);
                }
            }
        })
        .await;
        let (kind, text) = Probed::new(&at).failure().await;
        assert!(kind == FailureKind::ProtocolError && text.contains("more than 4 MiB"), "{kind:?} {text}");
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 32 << 20, "{sent} bytes went through, kernel buffers included");
    }
}
