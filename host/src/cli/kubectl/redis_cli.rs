//! `kubectl redis cli`: redis-cli or valkey-cli in a Pod of the group, by `kubectl exec`, with the password
//! and certificate of that Pod. The password is read inside of the Pod, from the file that Redis itself
//! reads: this program never has it, and it is in no argument.

use super::cluster::Cluster;
use super::group::Group;
use crate::cli::{Exit, print};
use crate::kubernetes::objects::{FAILOVER, failover};
use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Run redis-cli or valkey-cli in the master's Pod, with the right port, password and certificate
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kubectl redis cli example\n  kubectl redis cli example -- INFO \
                  replication\n  kubectl redis cli example --replica -- --bigkeys\n\nIt runs kubectl exec, \
                  which needs the right to create pods/exec. The master is the one of the resource's \
                  status; after a failover, connect again.")]
pub struct Args {
    /// The Redis or RedisFailover
    name: String,
    /// Use a replica: this Pod, or the first that is in sync
    #[arg(long, value_name = "POD", num_args = 0..=1, require_equals = true)]
    replica: Option<Option<String>>,
    /// Print the command instead of running it
    #[arg(long)]
    print: bool,
    /// Arguments of redis-cli
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

pub async fn run(args: &Args, cluster: &Cluster) -> Result<u8, Exit> {
    let group = cluster.group(&args.name).await?;
    let pod = pod(&group, args.replica.as_ref().map(Option::as_deref))?;
    let is_terminal = stdin().is_terminal() && stdout().is_terminal();
    let words = words(&group, &pod, &cluster.kubectl_options, is_terminal, &args.arguments);
    let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    if args.print {
        print(&(line + "\n"))?;
        return Ok(0);
    }
    // Replaces this process: signals, the terminal and the exit code are then kubectl's.
    let error = Command::new(&words[0]).args(&words[1..]).exec();
    Err(Exit::Failed(format!("kubectl: {error}: install it, or run where it is: {line}")))
}

/// The Pod to run in. `replica`: one of the replicas is wanted, or just this one.
fn pod(group: &Group, replica: Option<Option<&str>>) -> Result<String, Exit> {
    let (name, status) = (group.resource.name(), &group.status);
    let master = status.master.as_deref();
    match replica {
        None => master.map(str::to_owned).ok_or_else(|| {
            let why = if status.message.is_empty() {
                "no operator has written a status yet"
            } else {
                &status.message
            };
            Exit::Failed(format!("{name} has no master: {why}; --replica=POD names a Pod"))
        }),
        Some(Some(pod)) => {
            let pod = pod.trim_start_matches("pod/");
            let known: Vec<&str> = status.instances.iter().map(|of| of.name.as_str()).collect();
            if known.contains(&pod) {
                Ok(pod.to_owned())
            } else {
                Err(Exit::Input(format!(
                    "--replica: {pod} is no instance of {name}, which has {}",
                    known.join(", ")
                )))
            }
        }
        Some(None) => status
            .instances
            .iter()
            .find(|of| Some(of.name.as_str()) != master && of.health == "InSync")
            .map(|of| of.name.clone())
            .ok_or_else(|| Exit::Failed(format!("{name} has no replica in sync: --replica=POD names a Pod"))),
    }
}

/// The whole command.
fn words(
    group: &Group,
    pod: &str,
    kubectl: &[String],
    is_terminal: bool,
    arguments: &[String],
) -> Vec<String> {
    let namespace = group.resource.namespace();
    let first = ["kubectl".to_owned(), "exec".to_owned()];
    let exec = [
        format!("--namespace={namespace}"),
        if is_terminal { "-it" } else { "-i" }.to_owned(),
        pod.to_owned(),
        "--container=redis".to_owned(),
        "--".to_owned(),
        "sh".to_owned(),
        "-c".to_owned(),
        script(group),
        "redis-cli".to_owned(),
    ];
    first.into_iter().chain(kubectl.iter().cloned()).chain(exec).chain(arguments.iter().cloned()).collect()
}

/// What runs in the Pod, with the arguments as its own. The image has redis-cli, or valkey-cli.
fn script(group: &Group) -> String {
    let resource = &group.resource;
    let mut script = String::new();
    if resource.references.password.is_some() {
        let read = if resource.settings.family.label == FAILOVER.label {
            failover::READ_PASSWORD
        } else {
            "cat /secret/password"
        };
        script += &format!(
            "REDISCLI_AUTH=$({read}) || exit 1; VALKEYCLI_AUTH=$REDISCLI_AUTH; export REDISCLI_AUTH VALKEYCLI_AUTH; "
        );
    }
    let tls = if resource.references.tls.is_some() {
        " --tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key"
    } else {
        ""
    };
    script
        + &format!(
            "c=redis-cli; command -v $c >/dev/null || c=valkey-cli; exec $c -p {}{tls} \"$@\"",
            resource.settings.port
        )
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::KINDS;
    use serde_json::{Value, json};

    fn group(kind: &str, spec: &Value, status: &Value) -> Group {
        let kind = KINDS.iter().find(|of| of.api().kind == kind).unwrap();
        let metadata = json!({ "name": "cart", "namespace": "shop" });
        let (version, name) = (kind.api().api_version, kind.api().kind);
        let object = json!({ "apiVersion": version, "kind": name, "metadata": metadata, "spec": spec, "status": status });
        Group::of(kind, serde_json::from_value(object).unwrap()).unwrap()
    }

    fn redis(more: &Value, status: &Value) -> Group {
        let mut spec = json!({ "replicas": 2, "redis": { "image": "redis:7" } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        group("Redis", &spec, status)
    }

    fn status() -> Value {
        let instance =
            |name: &str, health: &str| json!({ "name": name, "role": "Replica", "health": health });
        let (one, other) = (instance("redis-cart-0", "InSync"), instance("redis-cart-1", "InSync"));
        json!({ "master": "redis-cart-0", "instances": [one, other, instance("redis-cart-2", "Syncing")] })
    }

    #[test]
    fn it_runs_at_the_master_or_at_a_replica_and_says_what_is_missing() {
        let redis = redis(&json!({}), &status());
        let of = |replica| pod(&redis, replica).unwrap();
        assert_eq!(of(None), "redis-cart-0");
        assert_eq!(of(Some(None)), "redis-cart-1");
        assert_eq!(of(Some(Some("pod/redis-cart-2"))), "redis-cart-2");
        let Err(Exit::Input(why)) = pod(&redis, Some(Some("other"))) else { panic!() };
        assert!(why.contains("other is no instance of cart, which has redis-cart-0, redis-cart-1"), "{why}");
    }

    #[test]
    fn without_a_master_it_says_why_there_is_none() {
        let redis = redis(&json!({}), &json!({ "message": "all are dead" }));
        let Err(Exit::Failed(why)) = pod(&redis, None) else { panic!() };
        assert_eq!(why, "cart has no master: all are dead; --replica=POD names a Pod");
        let Err(Exit::Failed(why)) = pod(&redis, Some(None)) else { panic!() };
        assert!(why.contains("has no replica in sync"), "{why}");
    }

    #[test]
    fn the_password_is_read_in_the_pod_and_arguments_are_passed_on_as_they_are() {
        let secret = json!({
            "password": { "secretKeyRef": { "name": "s", "key": "k" } }, "tls": { "secretName": "t" }
        });
        let redis = redis(&secret, &status());
        let arguments = ["SET".to_owned(), "a key".to_owned(), "it's".to_owned()];
        let words = words(&redis, "redis-cart-0", &["--context=dev".to_owned()], false, &arguments);
        let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        assert_eq!(
            line,
            "kubectl exec --context=dev --namespace=shop -i redis-cart-0 --container=redis -- sh -c \
             'REDISCLI_AUTH=$(cat /secret/password) || exit 1; VALKEYCLI_AUTH=$REDISCLI_AUTH; export \
             REDISCLI_AUTH VALKEYCLI_AUTH; c=redis-cli; command -v $c >/dev/null || c=valkey-cli; exec $c -p \
             6379 --tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key \"$@\"' redis-cli SET \
             'a key' 'it'\\''s'"
        );
    }

    #[test]
    fn a_redisfailover_has_its_own_port_and_its_password_where_its_pods_have_it() {
        let spec = json!({ "redis": { "port": 7000 }, "auth": { "secretPath": "login" } });
        let group = group("RedisFailover", &spec, &status());
        assert_eq!(pod(&group, None).unwrap(), "redis-cart-0");
        let script = script(&group);
        assert!(script.contains("/redis-auth/password") && script.contains("requirepass"), "{script}");
        assert!(script.ends_with("exec $c -p 7000 \"$@\"") && !script.contains("login"), "{script}");
        let open = self::group("RedisFailover", &json!({}), &status());
        assert!(self::script(&open).starts_with("c=redis-cli; "));
    }
}
