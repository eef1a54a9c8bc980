//! A group with Sentinels, and connections to all of them: what an executor is given.

use redis_operator::contract::{InstanceKind, SentinelMode, SentinelSettings, Topology};
use redis_operator::redis::act::sentinel::{
    Elected, Master, Sentinel, Told, Votes, Watch, elect, own_id, tell,
};
use redis_operator::redis::act::{self, ActFailure};
use redis_operator::redis::{Connection, Credentials, Endpoint, Link, LinkEvent, LinkSettings, Probe};
use redis_operator::topology::commands;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::real::{MASTER_NAME, SOON, Sentinels, Servers, Watching};
use tokio::sync::mpsc::unbounded_channel;

pub fn soon() -> Instant {
    Instant::now() + SOON
}

/// For an election. The operator gives 200 ms; a busy machine's disk may need more.
pub fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

/// Servers and Sentinels, and a connection to each.
pub struct Rig {
    pub servers: Servers,
    pub sentinels: Sentinels,
    pub watching: Watching,
    pub watch: Watch,
    members: Vec<Option<Connection>>,
    links: Vec<Link>,
}

impl Rig {
    pub async fn new(watching: Watching) -> Self {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into());
        Self::of(Path::new(&program), watching).await
    }

    pub async fn of(program: &Path, watching: Watching) -> Self {
        let mut servers = Servers::of(program, 3, &[]);
        servers.start_all().await;
        servers.attach_all().await;
        let sentinels = Sentinels::of(program, &servers, &watching).await;
        Self::around(servers, sentinels, watching, None, None).await
    }

    /// With these logins at the Sentinels, and of the Sentinels at the servers.
    pub async fn around(
        servers: Servers,
        sentinels: Sentinels,
        watching: Watching,
        at_sentinels: Option<(Option<&str>, &str)>,
        at_servers: Option<&str>,
    ) -> Self {
        let at_servers = at_servers.map(|password| Credentials::new(None, password).unwrap());
        let at_sentinels =
            at_sentinels.map(|(user, password)| Credentials::new(user.map(str::to_owned), password).unwrap());
        let settings = SentinelSettings {
            master_name: MASTER_NAME.into(),
            sentinels_desired: watching.count.try_into().unwrap(),
            quorum: u16::try_from(watching.count / 2 + 1).unwrap(),
            down_after_ms: watching.down_after_ms,
            failover_timeout_ms: watching.failover_timeout_ms,
            parallel_syncs: 1,
            mode: SentinelMode::Assisted,
        };
        let login = at_servers.clone();
        let watch = Watch { settings, sentinels: vec![], login, own_id: own_id() };
        let mut rig = Self { servers, sentinels, watching, watch, members: vec![], links: vec![] };
        for place in 0..rig.servers.count() {
            let endpoint = rig.servers.endpoint(place).clone();
            let connection = rig.connect(&endpoint, InstanceKind::Redis, at_servers.clone()).await;
            rig.members.push(connection);
        }
        for place in 0..rig.sentinels.count() {
            let endpoint: Endpoint = rig.sentinels.id(place).parse().unwrap();
            let login = at_sentinels.clone();
            if let Some(connection) = rig.connect(&endpoint, InstanceKind::Sentinel, login).await {
                let id = endpoint.to_string();
                rig.watch.sentinels.push(Sentinel { id, connection, place: endpoint });
            }
        }
        rig
    }

    /// A connection that has answered. None: it does not.
    async fn connect(
        &mut self,
        endpoint: &Endpoint,
        kind: InstanceKind,
        login: Option<Credentials>,
    ) -> Option<Connection> {
        let (sender, mut events) = unbounded_channel();
        let settings = LinkSettings {
            network: None,
            endpoint: endpoint.clone(),
            logins: login.into(),
            tls: None,
            dial_deadline: Duration::from_secs(2),
            redial_after: SOON,
            probe: Arc::new(Probe::of_master(&commands(Topology::Sentinel, kind, &[]), MASTER_NAME)),
        };
        let link = Link::new("it".into(), settings, Arc::new(move |event| drop(sender.send(event))));
        link.probe();
        let event = tokio::time::timeout(SOON, events.recv()).await.expect("no event");
        let LinkEvent::Answered { link: number, .. } = event.expect("the link lives") else { return None };
        let connection = link.connection(number);
        self.links.push(link);
        connection
    }

    /// Connects to a server that was started again.
    pub async fn reconnect(&mut self, place: usize) {
        let endpoint = self.servers.endpoint(place).clone();
        self.members[place] = self.connect(&endpoint, InstanceKind::Redis, None).await;
    }

    /// Connects to a Sentinel that was started again.
    pub async fn reconnect_sentinel(&mut self, place: usize) {
        let id = self.sentinels.id(place);
        let endpoint: Endpoint = id.parse().unwrap();
        let connection = self.connect(&endpoint, InstanceKind::Sentinel, None).await.unwrap();
        self.watch.sentinels.iter_mut().find(|sentinel| sentinel.id == id).unwrap().connection = connection;
    }

    pub fn member(&self, place: usize) -> &Connection {
        self.members[place].as_ref().unwrap()
    }

    pub fn master(&self, place: usize) -> Master {
        let places = vec![self.servers.endpoint(place).clone()];
        Master { id: self.servers.id(place), connection: self.member(place).clone(), places }
    }

    /// Votes, promotion, the other replicas, hello: an action `promote` by votes, and the `follow`s after it.
    pub async fn fail_over(&self, to: usize, others: &[usize]) -> Result<(Elected, Told), ActFailure> {
        let elected = elect(&self.watch, &self.master(to), Votes::Majority, in_time()).await?;
        act::promote(self.member(to), soon()).await?;
        for other in others {
            act::follow(self.member(*other), self.servers.endpoint(to), soon()).await?;
        }
        let told = tell(&self.watch, &elected, &self.master(to), soon()).await;
        Ok((elected, told))
    }

    /// How many failovers the Sentinels have begun themselves.
    pub fn own_failovers(&self) -> usize {
        self.sentinels.heard("+try-failover").len()
    }

    /// Waits until all Sentinels know all servers and each other.
    pub async fn all_know_all(&self) {
        for place in 0..self.sentinels.count() {
            self.sentinels.knows(place, self.servers.count() - 1, self.sentinels.count() - 1).await;
        }
    }
}
