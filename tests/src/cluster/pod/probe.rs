//! One probe of a container: asks by command, connection or HTTP, and says yes or no. What follows is the
//! container's affair.

use super::environment::Variables;
use super::process::exec;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Where a running container is asked.
pub(super) struct Target<'a> {
    pub(super) container: &'a Container,
    pub(super) pid: i32,
    pub(super) environment: &'a Variables,
    pub(super) address: Ipv4Addr,
    /// The node that probes.
    pub(super) node: Ipv4Addr,
}

/// The ways to ask, which lifecycle hooks have too.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) exec: Option<&'a ExecAction>,
    pub(super) http_get: Option<&'a HTTPGetAction>,
    pub(super) tcp_socket: Option<&'a TCPSocketAction>,
}

impl<'a> Question<'a> {
    pub(super) fn of(probe: &'a Probe) -> Self {
        Self {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
        }
    }
}

impl Target<'_> {
    /// Whether the answer was good, and in time.
    pub(super) async fn answers(&self, question: Question<'_>, limit: Duration) -> bool {
        if let Some(command) = question.exec {
            let words = command.command.as_deref().unwrap_or_default();
            return exec(self.pid, words, self.environment, limit).await.unwrap_or(false);
        }
        let asked = async {
            match (question.http_get, question.tcp_socket) {
                (Some(http), _) => self.http(http).await,
                (None, Some(tcp)) => self.connect(tcp.host.as_deref(), &tcp.port).await.map(|_| ()),
                (None, None) => bail!("a probe that asks nothing"),
            }
        };
        tokio::time::timeout(limit, asked).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn http(&self, get: &HTTPGetAction) -> Result<()> {
        let mut stream = self.connect(get.host.as_deref(), &get.port).await?;
        let path = get.path.as_deref().unwrap_or("/");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/tests\r\nConnection: close\r\n",
            self.address
        );
        for header in get.http_headers.iter().flatten() {
            request += &format!("{}: {}\r\n", header.name, header.value);
        }
        stream.write_all((request + "\r\n").as_bytes()).await?;
        let mut answer = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut answer).await?;
        let code: u16 = std::str::from_utf8(&answer[9..])?.parse()?;
        if (200..400).contains(&code) { Ok(()) } else { bail!("{code}") }
    }

    async fn connect(&self, host: Option<&str>, port: &IntOrString) -> Result<TcpStream> {
        let address = host.map_or(Ok(self.address), str::parse)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.node, 0)))?;
        Ok(socket.connect(SocketAddr::from((address, self.port(port)?))).await?)
    }

    fn port(&self, port: &IntOrString) -> Result<u16> {
        let number = match port {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                ports
                    .find(|port| port.name.as_ref() == Some(name))
                    .with_context(|| format!("no port is called {name}"))?
                    .container_port
            }
        };
        Ok(u16::try_from(number)?)
    }
}

/// A time of a probe, or what Kubernetes takes when it is not set.
pub(super) fn seconds(given: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(given.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(default))
}
