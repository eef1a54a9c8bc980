//! SENTINEL SET of an option on the allow-list, read back.

use super::{Watch, precondition};
use crate::redis::act::{ActFailure, all_good, ask};
use crate::redis::probe::fields;
use crate::topology::allowed::SentinelOption;
use std::time::Instant;

/// Sets an option of one Sentinel and reads it back.
///
/// # Errors
/// [`ActFailure`]; `Precondition` for an option that is not on the allow-list, before anything is sent.
pub async fn set_option(
    watch: &Watch,
    id: &str,
    option: &str,
    to: &str,
    deadline: Instant,
) -> Result<(), ActFailure> {
    const STEP: &str = "set option";
    let known = SentinelOption::parse(option).and_then(|known| known.check(to));
    known.map_err(|why| precondition(STEP, why))?;
    let sentinel = watch.sentinel(id).map_err(|why| precondition(STEP, why))?;
    let name = watch.name();
    let commands = [&["SENTINEL", "SET", name, option, to][..], &["SENTINEL", "MASTER", name]];
    let replies = ask(&sentinel.connection, STEP, &commands, deadline).await?;
    all_good(STEP, &replies)?;
    match fields(&replies[1]).and_then(|row| row.get(option).cloned()) {
        Some(is) if is == to => Ok(()),
        is => Err(ActFailure::Unconfirmed {
            step: STEP,
            why: format!("{option} was set to {to}, but reads {}", is.unwrap_or_else(|| "nothing".into())),
        }),
    }
}
