//! Passwords that change while servers, Sentinels and the operator run: of the servers, and of the Sentinels.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::real::{Acknowledged, Program, Sentinels, Servers, Watching, Writers, until};

/// A group with passwords, its Sentinels with one of their own, clients that write, and the operator.
struct Group {
    servers: Servers,
    sentinels: Sentinels,
    writers: Writers,
    program: Program,
    files: (PathBuf, PathBuf),
}

/// As a person writes it: whole at once.
fn put(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl Group {
    async fn start() -> Self {
        let mut servers = Servers::planned(3, &["--requirepass", "old", "--masterauth", "old"]);
        servers.log_in_as("default", "old");
        let files = (servers.dir().join("password"), servers.dir().join("password-of-sentinels"));
        put(&files.0, "old");
        put(&files.1, "s-old");
        for place in 0..3 {
            servers.start(place, &[]).await;
        }
        servers.attach_all().await;
        let further =
            ["requirepass s-old", "sentinel sentinel-pass s-old", "sentinel auth-pass mymaster old"];
        let further = further.map(str::to_owned).to_vec();
        let watching = Watching { down_after_ms: 1_500, further, ..Watching::default() };
        let sentinels = Sentinels::start(&servers, &watching).await;
        let (list, file) = (sentinels.list(), |path: &Path| path.to_str().unwrap().to_owned());
        let (own, of_sentinels) = (file(&files.0), file(&files.1));
        let options =
            ["--password-file", &own, "--sentinels", &list, "--sentinels-password-file", &of_sentinels];
        let program = Program::look_after(&servers.list(), &options);
        program.logged("healthy").await;
        let writers = Writers::start(&servers);
        writers.go_on(100).await;
        Self { servers, sentinels, writers, program, files }
    }

    /// A command at every server.
    async fn at_all(&self, words: &[&str]) {
        for place in 0..3 {
            self.servers.say(place, words).await;
        }
    }

    /// Waits until the operator has given a login to all Sentinels so many times.
    async fn given(&self, times: usize) {
        let given = || self.program.log().matches("login to the servers given to sentinel").count();
        until("all Sentinels have the login", async || (given() >= times * 3).then_some(())).await;
    }

    /// Ends the connections of all Sentinels to all servers, so that they have to log in, and waits until
    /// they have. They can fail over all the while.
    async fn all_log_in_again(&self) {
        // One for commands and one for messages, to each of three servers.
        let connections = until("each Sentinel is connected to each server", async || {
            let mut connections = Vec::new();
            for place in 0..3 {
                let clients: String = self.servers.ask(place, &["CLIENT", "LIST"]).await.ok()?;
                let of_sentinels = clients.lines().filter(|line| line.contains(" name=sentinel-"));
                let id =
                    |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
                connections.extend(of_sentinels.filter_map(id).map(|id| (place, id)));
            }
            (connections.len() == 18).then_some(connections)
        })
        .await;
        for (place, id) in connections {
            self.servers.say(place, &["CLIENT", "KILL", "ID", &id]).await;
        }
        let begun = Instant::now();
        for place in 0..3 {
            self.sentinels.knows(place, 2, 2).await;
            let quorum = self.sentinels.ask(place, &["SENTINEL", "CKQUORUM", "mymaster"]);
            assert!(format!("{quorum:?}").contains("OK 3 usable Sentinels"), "{quorum:?}");
        }
        println!("all Sentinels logged in again within {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(5));
        // What a Sentinel takes for down without a login, it would have published by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.is_quiet();
    }

    /// No Sentinel took any server for down, and none did anything.
    fn is_quiet(&self) {
        for channel in ["+sdown", "+odown", "+try-failover", "+switch-master"] {
            assert!(self.sentinels.heard(channel).is_empty(), "{}", self.sentinels.story());
        }
    }
}

#[tokio::test]
async fn the_password_of_the_servers_is_changed_under_load_and_the_sentinels_come_along() {
    let mut group = Group::start().await;

    // The careful way: both are valid, the file, then only the new one.
    group.at_all(&["ACL", "SETUSER", "default", ">new"]).await;
    put(&group.files.0, "new");
    group.given(1).await;
    group.at_all(&["CONFIG", "SET", "masterauth", "new"]).await;
    group.at_all(&["CONFIG", "SET", "requirepass", "new"]).await;
    group.servers.log_in_as("default", "new");
    group.all_log_in_again().await;

    // The file first: the servers refuse what it says, so no Sentinel gets it before they do not.
    put(&group.files.0, "newer");
    group.program.logged("refuses it").await;
    group.all_log_in_again().await;
    group.at_all(&["CONFIG", "SET", "masterauth", "newer"]).await;
    group.at_all(&["CONFIG", "SET", "requirepass", "newer"]).await;
    group.servers.log_in_as("default", "newer");
    group.given(2).await;
    group.all_log_in_again().await;

    // The file last: the connections that are open stay.
    group.at_all(&["CONFIG", "SET", "masterauth", "newest"]).await;
    group.at_all(&["CONFIG", "SET", "requirepass", "newest"]).await;
    group.servers.log_in_as("default", "newest");
    put(&group.files.0, "newest");
    group.given(3).await;
    group.all_log_in_again().await;

    group.servers.in_sync(0).await;
    let writes = group.writers.stop();
    assert!(Acknowledged::lost(&writes, &group.servers, 0).await.is_empty());
    assert_eq!(group.servers.masters().await, [0]);
}

#[tokio::test]
async fn an_operator_that_starts_after_the_change_gives_it_to_those_that_are_locked_out() {
    let mut group = Group::start().await;
    drop(group.program);
    for words in [["CONFIG", "SET", "masterauth", "new"], ["CONFIG", "SET", "requirepass", "new"]] {
        for place in 0..3 {
            group.servers.say(place, &words).await;
        }
    }
    group.servers.log_in_as("default", "new");
    put(&group.files.0, "new");
    let pid = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
    // One Sentinel alone: it takes the master for down, and cannot fail over without the others.
    let clients: String = group.servers.ask(0, &["CLIENT", "LIST"]).await.unwrap();
    let own = group.sentinels.ask(0, &["SENTINEL", "MYID"]);
    let own: String = redis::from_redis_value(own).unwrap();
    let name = format!(" name=sentinel-{}", &own[..8]);
    for id in clients.lines().filter(|line| line.contains(&name)).filter_map(pid) {
        group.servers.say(0, &["CLIENT", "KILL", "ID", &id]).await;
    }
    until("it is locked out", async || group.sentinels.field(0, "flags").contains("s_down").then_some(()))
        .await;
    let (list, path) = (group.sentinels.list(), |path: &Path| path.to_str().unwrap().to_owned());
    let (own, of_sentinels) = (path(&group.files.0), path(&group.files.1));
    let options = ["--password-file", &own, "--sentinels", &list, "--sentinels-password-file", &of_sentinels];
    let program = Program::look_after(&group.servers.list(), &options);
    until("it is connected again", async || (group.sentinels.field(0, "flags") == "master").then_some(()))
        .await;
    let given = program.log().matches("login to the servers given to sentinel").count();
    assert_eq!(given, 1, "those that are connected are left alone: {}", program.log());
    assert!(group.sentinels.heard("+switch-master").is_empty(), "{}", group.sentinels.story());
}

#[tokio::test]
async fn the_password_of_the_sentinels_is_changed_and_each_login_is_tried() {
    let mut group = Group::start().await;
    // The operator's connections are those that ask; the test's are closed by now, its listeners subscribe.
    let cut = |group: &Group| {
        for place in 0..3 {
            group.sentinels.ask(place, &["CLIENT", "KILL", "TYPE", "normal"]);
        }
    };
    let entered = async |group: &Group| {
        for place in 0..3 {
            until("the operator is in again", async || {
                let clients = format!("{:?}", group.sentinels.ask(place, &["CLIENT", "LIST"]));
                (clients.matches("cmd=sentinel").count() >= 1).then_some(())
            })
            .await;
        }
    };
    entered(&group).await;
    put(&group.files.1, "s-new");
    group.program.logged("credentials changed").await;
    cut(&group);
    entered(&group).await;
    for place in 0..3 {
        group.sentinels.ask(place, &["ACL", "SETUSER", "default", ">s-new"]);
        group.sentinels.ask(place, &["SENTINEL", "CONFIG", "SET", "sentinel-pass", "s-new"]);
    }
    for place in 0..3 {
        group.sentinels.ask(place, &["ACL", "SETUSER", "default", "<s-old"]);
    }
    group.sentinels.log_in_as("s-new");
    cut(&group);
    entered(&group).await;
    for place in 0..3 {
        group.sentinels.knows(place, 2, 2).await;
    }
    group.is_quiet();
    // With their votes, since all of them let the operator in.
    let killed = group.servers.kill(0);
    group.writers.first_elsewhere(0, killed).await;
    group.program.logged(" of 3 Sentinels in epoch").await;
}
