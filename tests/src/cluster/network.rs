//! The cluster's network: a bridge, an address and network namespace a Pod, and the faults of both. Knows no
//! process.

use super::inside::run;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Where the API server listens, and what runs outside of Pods has its end.
pub const HOME: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The address of a node: its agent's probes come from there, and no fault between Pods touches them, as a
/// kubelet's.
pub(super) fn node_address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 2 + u8::try_from(place).expect("a few nodes"))
}

const NODES_MAX: usize = 8;

/// What of a Pod's traffic is lost. Made by [`Cut::all`] or [`Cut::with`].
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    peer: Option<Ipv4Addr>,
    is_inbound: bool,
    is_outbound: bool,
    loss_percent: u8,
}

impl Cut {
    /// With all addresses, both ways.
    pub const fn all() -> Self {
        Self { peer: None, is_inbound: true, is_outbound: true, loss_percent: 100 }
    }

    /// With one address, both ways.
    pub const fn with(peer: Ipv4Addr) -> Self {
        Self { peer: Some(peer), ..Self::all() }
    }

    /// Only what comes in: the Pod is deaf.
    pub const fn inbound(self) -> Self {
        Self { is_outbound: false, ..self }
    }

    /// Only what goes out: the Pod is mute.
    pub const fn outbound(self) -> Self {
        Self { is_inbound: false, ..self }
    }

    /// Only so many of a hundred packets, by chance.
    pub const fn losing_percent(self, loss_percent: u8) -> Self {
        Self { loss_percent, ..self }
    }

    fn rules(self) -> String {
        let rule = |chain: &str, device: &str, side: &str| {
            let peer = self.peer.map(|peer| format!("ip {side} {peer} ")).unwrap_or_default();
            let chance = if self.loss_percent < 100 {
                format!("numgen random mod 100 < {} ", self.loss_percent)
            } else {
                String::new()
            };
            format!(
                "add rule inet faults {chain} {device} \"eth0\" ip {side} != 10.77.0.2-10.77.0.9 \
                 {peer}{chance}drop\n"
            )
        };
        let inbound = if self.is_inbound { rule("in", "iifname", "saddr") } else { String::new() };
        let outbound = if self.is_outbound { rule("out", "oifname", "daddr") } else { String::new() };
        inbound + &outbound
    }
}

/// The bridge, and the Pod addresses in use.
pub(super) struct Bridge(Mutex<(u8, BTreeSet<u8>)>);

impl Bridge {
    /// Makes it, with the addresses of so many nodes.
    pub(super) fn create(nodes: usize) -> Result<Arc<Self>> {
        ensure!((1..=NODES_MAX).contains(&nodes), "1 to {NODES_MAX} nodes, not {nodes}");
        run("ip", &["link", "add", "br0", "type", "bridge"])?;
        run("ip", &["addr", "add", &format!("{HOME}/24"), "dev", "br0"])?;
        for place in 0..nodes {
            run("ip", &["addr", "add", &format!("{}/24", node_address(place)), "dev", "br0"])?;
        }
        run("ip", &["link", "set", "br0", "up"])?;
        Ok(Arc::new(Self(Mutex::new((PODS_FROM, BTreeSet::new())))))
    }

    /// A namespace and an address for a Pod. A freed address is used again as late as possible.
    pub(super) fn attach(self: &Arc<Self>) -> Result<PodNetwork> {
        let number = {
            let mut used = self.0.lock().expect("no holder panics");
            let after = (used.0..=PODS_TO).chain(PODS_FROM..used.0).find(|number| !used.1.contains(number));
            let number = after.context("all addresses are in use")?;
            used.0 = if number == PODS_TO { PODS_FROM } else { number + 1 };
            used.1.insert(number);
            number
        };
        let network = PodNetwork { number, bridge: Arc::clone(self) };
        let name = network.name();
        run("ip", &["netns", "add", &name])?;
        let outside = format!(
            "link add v{number} type veth peer name eth0 netns {name}\nlink set v{number} master br0 up\n"
        );
        feed(Command::new("ip").args(["-batch", "-"]), &outside)?;
        let inside =
            format!("addr add {}/24 dev eth0\nlink set eth0 up\nlink set lo up\n", network.address());
        feed(Command::new("ip").args(["-n", &name, "-batch", "-"]), &inside)?;
        Ok(network)
    }
}

/// A Pod's own network. Dropping it gives the address back.
pub(super) struct PodNetwork {
    number: u8,
    bridge: Arc<Bridge>,
}

impl PodNetwork {
    pub(super) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// The file that programs enter it by.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name())
    }

    /// Adds a fault to those that there are.
    pub(super) fn cut(&self, cut: Cut) -> Result<()> {
        let table = "add table inet faults\nadd chain inet faults in { type filter hook input priority 0; \
                     }\nadd chain inet faults out { type filter hook output priority 0; }\n";
        self.nft(&format!("{table}{}", cut.rules()))
    }

    /// Takes back all faults.
    pub(super) fn heal(&self) -> Result<()> {
        self.nft("add table inet faults\ndelete table inet faults\n")
    }

    /// Pulls the plug, or puts it back.
    pub(super) fn plug(&self, is_in: bool) -> Result<()> {
        run("ip", &["link", "set", &format!("v{}", self.number), if is_in { "up" } else { "down" }])
    }

    fn nft(&self, script: &str) -> Result<()> {
        feed(
            Command::new("nsenter").arg(format!("--net={}", self.path().display())).args(["nft", "-f", "-"]),
            script,
        )
    }

    fn name(&self) -> String {
        format!("p{}", self.number)
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        // The link by itself: the namespace goes only with the last process in it. Either may never have been
        // made.
        let _ = run("ip", &["link", "del", &format!("v{}", self.number)]);
        let _ = run("ip", &["netns", "del", &self.name()]);
        self.bridge.0.lock().expect("no holder panics").1.remove(&self.number);
    }
}

const PODS_FROM: u8 = 10;
const PODS_TO: u8 = 254;

fn feed(command: &mut Command, text: &str) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("piped")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{text}{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
