//! CONFIG SET of a directive on the allow-list, read back. No secrets, no directive that touches data or
//! disk.

use super::role::text;
use super::{ActFailure, all_good, ask};
use crate::redis::Connection;
use crate::topology::allowed::Directive;
use redis::Value;
use std::time::Instant;

/// Sets `directive` and reads it back.
///
/// # Errors
/// [`ActFailure`]; `Precondition` for a directive that is not on the allow-list, before anything is sent.
pub async fn configure(
    connection: &Connection,
    directive: &str,
    to: &str,
    deadline: Instant,
) -> Result<(), ActFailure> {
    const STEP: &str = "configure";
    let known = Directive::parse(directive).and_then(|known| known.check(to));
    known.map_err(|why| ActFailure::Precondition { step: STEP, why })?;
    let replies =
        ask(connection, STEP, &[&["CONFIG", "SET", directive, to], &["CONFIG", "GET", directive]], deadline)
            .await?;
    all_good(STEP, &replies)?;
    match &replies[1] {
        Value::Array(pair) if pair.get(1).and_then(text).is_some_and(|is| is == to) => Ok(()),
        other => Err(ActFailure::Unconfirmed {
            step: STEP,
            why: format!("{directive} was set to {to}, but reads {other:?}"),
        }),
    }
}
