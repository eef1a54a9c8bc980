//! The options of a Sentinel endpoint.

use super::Exit;
use crate::driver::{GroupHandle, Witness};
use crate::face::{Certificate, Entry, Face, FaceSettings, Faces, Gate, Peer};
use crate::redis::Endpoint;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// A Sentinel endpoint, for clients that ask Redis Sentinel for their master.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Sentinel endpoint")]
pub struct FaceArgs {
    /// Answer clients of Redis Sentinel here [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    sentinel_listen: Option<SocketAddr>,
    /// Name of the master, as these clients ask for it
    #[arg(long, default_value = "mymaster", value_name = "NAME")]
    sentinel_name: String,
    /// Carry out SENTINEL FAILOVER as a switchover
    #[arg(long, requires = "sentinel_listen")]
    sentinel_allow_failover: bool,
    /// File with the password that clients of the endpoint need [default: none]
    #[arg(long, value_name = "FILE", requires = "sentinel_listen")]
    sentinel_password_file: Option<PathBuf>,
    /// User of that password [default: the user default]
    #[arg(long, value_name = "NAME", requires = "sentinel_password_file")]
    sentinel_user: Option<String>,
    /// File with the certificate to show, in PEM; clients must use TLS then
    #[arg(long, value_name = "FILE", requires = "sentinel_listen", requires = "sentinel_tls_key")]
    sentinel_tls_cert: Option<PathBuf>,
    /// File with its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "sentinel_tls_cert")]
    sentinel_tls_key: Option<PathBuf>,
    /// Other endpoints of the same group, which clients may use, too
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', requires = "sentinel_listen")]
    sentinel_peers: Vec<String>,
    /// Name servers by their host names, and not by the addresses that these resolve to
    #[arg(long, requires = "sentinel_listen")]
    sentinel_hostnames: bool,
}

/// The endpoint of this process.
pub struct OpenFace {
    face: Face,
    _faces: Faces,
}

impl FaceArgs {
    /// Opens the endpoint, if one is asked for. `start`: moment zero of the group.
    ///
    /// # Errors
    /// [`Exit::Input`] for an address in use, and a file that cannot be read.
    pub fn open(&self, start: Instant) -> Result<Option<OpenFace>, Exit> {
        let Some(listen) = self.sentinel_listen else { return Ok(None) };
        let peer = |text: &String| {
            let parsed = text.parse::<Endpoint>();
            parsed
                .map(|Endpoint { host, port }| Peer { host, port })
                .map_err(|error| Exit::Input(format!("--sentinel-peers: {error}")))
        };
        let files = self.sentinel_tls_cert.clone().zip(self.sentinel_tls_key.clone());
        let tls = files.map(|(chain, key)| Certificate::read(chain, key)).transpose();
        let tls = tls.map_err(|error| Exit::Input(format!("--sentinel-tls-cert: {error}")))?;
        let peers = self.sentinel_peers.iter().map(peer).collect::<Result<_, _>>()?;
        let entry = Entry { gate: self.gate()?, tls: tls.map(Arc::new) };
        let settings =
            FaceSettings { listen, entry, announces_names: self.sentinel_hostnames, lists_peers: true };
        let faces = Faces::start().map_err(|error| Exit::Failed(error.to_string()))?;
        let face = faces
            .open(settings, start)
            .map_err(|error| Exit::Input(format!("--sentinel-listen: {error}: choose another address")))?;
        face.set_peers(peers);
        tracing::info!(address = %face.address(), name = self.sentinel_name, "sentinel endpoint opened");
        Ok(Some(OpenFace { face, _faces: faces }))
    }

    /// # Errors
    /// [`Exit::Input`] if no endpoint is asked for.
    pub fn must_listen(&self) -> Result<(), Exit> {
        let text = "--sentinel-listen is missing: say where to answer, as in 0.0.0.0:26379";
        self.sentinel_listen.map(drop).ok_or_else(|| Exit::Input(text.into()))
    }

    /// Shows the group at the endpoint.
    pub fn show(&self, open: Option<&OpenFace>, handle: GroupHandle) -> Option<Witness> {
        let switch_over = move || {
            handle.switch_over(None);
            Ok(())
        };
        let allowed = self.sentinel_allow_failover.then(|| Box::new(switch_over) as _);
        Some(open?.face.show(&self.sentinel_name, allowed))
    }

    fn gate(&self) -> Result<Option<Gate>, Exit> {
        let Some(path) = &self.sentinel_password_file else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| {
            Exit::Input(format!("--sentinel-password-file {}: {error}", path.display()))
        };
        let password = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        if password.is_empty() {
            return Err(failed(&"the file is empty: write the password to it, or leave the option out"));
        }
        Ok(Some(Gate { user: self.sentinel_user.clone(), password }))
    }
}
