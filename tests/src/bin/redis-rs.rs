//! Writes through Sentinel with redis-rs: one key after the other, each acknowledged one on a line of its
//! own. As the programs in `tests/face/clients`, which are of other languages.

use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{RedisError, RedisResult};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> RedisResult<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, name, prefix, password] = &words[..] else {
        eprintln!("usage: redis-rs HOST:PORT,… NAME PREFIX PASSWORD");
        std::process::exit(2);
    };
    let login = if password.is_empty() { String::new() } else { format!(":{password}@") };
    let nodes: Vec<String> = endpoints.split(',').map(|place| format!("redis://{login}{place}/")).collect();
    let mut client = SentinelClient::build(nodes, name.clone(), None, SentinelServerType::Master)?;
    let mut number = 0_u64;
    loop {
        // What ends it is looked up anew.
        drop(tokio::time::timeout(LOOK_UP, write(&mut client, prefix, &mut number)).await);
        tokio::time::sleep(PACE).await;
    }
}

/// Writes until a write fails.
async fn write(client: &mut SentinelClient, prefix: &str, number: &mut u64) -> Result<(), RedisError> {
    let mut connection = client.get_async_connection().await?;
    loop {
        *number += 1;
        let key = format!("{prefix}-{number}");
        let set = redis::cmd("SET").arg(&key).arg(*number).to_owned();
        let acknowledged = tokio::time::timeout(REPLY, set.query_async::<()>(&mut connection)).await;
        match acknowledged {
            Ok(reply) => reply?,
            Err(_) => return Ok(()),
        }
        println!("{key}");
        tokio::time::sleep(PACE).await;
    }
}

const PACE: Duration = Duration::from_millis(2);
const REPLY: Duration = Duration::from_millis(500);
/// A connection is not used for longer: a look-up in between costs nothing, and one that hangs ends.
const LOOK_UP: Duration = Duration::from_secs(2);
