//! Makes what a release ships from what `deploy/` has, so that nothing is written twice: files of the charts,
//! the OLM bundle, the plugin's manifest, the formula, the book. Pure, but for `main.rs` and [`generated`],
//! which read and write files; touches no cluster and no network.

pub mod book;
pub mod bundle;
pub mod documents;
pub mod generated;
pub mod reference;
pub mod release;
pub mod values;
