//! A support bundle as files, and as one archive. Pure: what it has not was not gathered.

use super::redact::Redactor;
use crate::cli::kubectl::logs::{as_json, row};
use crate::cli::kubectl::operators::Entry;
use crate::cli::kubectl::text::Paint;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io;

/// What was gathered about a group, with its secrets.
#[derive(Default)]
pub struct Gathered {
    /// Namespace and name of the resource.
    pub group: (String, String),
    /// When, RFC 3339.
    pub at: String,
    /// The resource, and the objects that belong to it, with kind.
    pub objects: Vec<Value>,
    /// The Secrets that it names and that were made for it. Empty, too, if they could not be read.
    pub secrets: Vec<Value>,
    /// Whether they could.
    pub are_secrets_known: bool,
    /// Events about them.
    pub events: Vec<Value>,
    /// The operators' Pods, and the Lease.
    pub operators: Vec<Value>,
    /// The operators' logs about the group.
    pub logs: Vec<Entry>,
    /// The operator's view: Observation and decision.
    pub view: Option<Value>,
    /// What `status` and `explain` print.
    pub screens: [String; 2],
    /// Of the plugin, the API server and the operators.
    pub versions: Value,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// A file of the bundle: its path, and its text.
pub type File = (String, String);

/// The files, without secrets.
pub fn files(gathered: &Gathered) -> Vec<File> {
    let redactor = Redactor::new(&gathered.secrets);
    let json =
        |value: &Value| serde_json::to_string_pretty(&redactor.object(value)).unwrap_or_default() + "\n";
    let text = |text: &str| redactor.text(text);
    let logs: Vec<Entry> = gathered.logs.iter().map(|entry| scrubbed(entry, &redactor)).collect();
    let mut files = vec![
        ("README.txt".to_owned(), text(&readme(gathered))),
        ("versions.json".to_owned(), json(&gathered.versions)),
        ("status.txt".to_owned(), text(&gathered.screens[0])),
        ("explain.txt".to_owned(), text(&gathered.screens[1])),
        ("timeline.txt".to_owned(), logs.iter().map(|entry| row(entry, Paint(false))).collect()),
        ("operators/log.jsonl".to_owned(), logs.iter().map(as_json).collect()),
        ("events.json".to_owned(), json(&gathered.events.iter().map(event).collect())),
    ];
    if let Some(view) = &gathered.view {
        let part = |name: &str| view.get(name).map(|part| (format!("{name}.json"), json(part)));
        files.extend(["observation", "decision"].into_iter().filter_map(part));
    }
    let in_folder =
        |folder: &str, object: &Value| (format!("{folder}/{}.json", file_name(object)), json(object));
    files.extend(gathered.objects.iter().chain(&gathered.secrets).map(|object| in_folder("objects", object)));
    files.extend(gathered.operators.iter().map(|object| in_folder("operators", object)));
    files
}

/// The files below one folder, as a .tar.gz.
///
/// # Errors
/// The encoder's; memory causes none.
pub fn archive(folder: &str, files: &[File], unix_s: u64) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(unix_s);
        archive.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

fn readme(gathered: &Gathered) -> String {
    let (namespace, name) = &gathered.group;
    let mut text = format!(
        "Support bundle of Redis {namespace}/{name}, made at {} by kubectl redis report.\n\n\
         status.txt, explain.txt  what kubectl redis status and explain print\n\
         observation.json         what the operator saw last; redis-operator policy decide reads it\n\
         decision.json            what its policy decided\n\
         timeline.txt             what all operators logged about this group\n\
         operators/log.jsonl      the same with all fields\n\
         objects/                 the resource, its objects, its Pods, its record\n\
         events.json              events about them\n\
         operators/               the operators' Pods and their Lease\n\
         versions.json            of the plugin, the API server and the operators' images\n\n\
         Removed: values of Secrets, passwords and tokens, and what only users write: arguments, variables \
         and probes of their containers, sources of their volumes, their annotations. Look at the files \
         before you pass them on.\n",
        gathered.at
    );
    if !gathered.are_secrets_known {
        text += "The Secrets could not be read, so what was removed was found by names and forms alone.\n";
    }
    if !gathered.missing.is_empty() {
        text += "\nNot here:\n";
    }
    text.extend(gathered.missing.iter().map(|why| format!("- {why}\n")));
    text
}

/// What happened to what. The rest of an event is of the machinery.
fn event(event: &Value) -> Value {
    let of = |name: &str| event.get(name).cloned().unwrap_or_default();
    let made = event.pointer("/metadata/creationTimestamp").cloned().unwrap_or_default();
    json!({
        "type": of("type"), "reason": of("reason"), "action": of("action"), "note": of("note"),
        "regarding": of("regarding"), "eventTime": of("eventTime"), "series": of("series"),
        "reportingController": of("reportingController"), "creationTimestamp": made,
        "lastTimestamp": of("deprecatedLastTimestamp"), "count": of("deprecatedCount")
    })
}

fn scrubbed(entry: &Entry, redactor: &Redactor) -> Entry {
    let mut entry = entry.clone();
    entry.line.message = redactor.text(&entry.line.message);
    for (name, value) in &mut entry.line.fields {
        // A name and its value together show what the value alone does not.
        let text = redactor.text(value);
        let pair = redactor.text(&format!("{name}={text}"));
        *value = pair.strip_prefix(&format!("{name}=")).map_or(text, str::to_owned);
    }
    entry
}

/// Its kind and name, as a file is called.
fn file_name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown");
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "-.".contains(letter) { letter } else { '_' };
    format!("{}-{}", text("/kind").to_ascii_lowercase(), text("/metadata/name")).chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::kubectl::operators::entries;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use flate2::read::GzDecoder;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use sha2::{Digest, Sha256};
    use std::io::Read;

    /// What is searched for.
    const MARKED: &str = "Mark3d/Pass+word";

    fn base64(text: &str) -> String {
        BASE64_STANDARD.encode(text)
    }

    fn in_uri() -> String {
        utf8_percent_encode(MARKED, NON_ALPHANUMERIC).to_string()
    }

    fn sha256() -> String {
        Sha256::digest(MARKED).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A group with a password in every place where one can be. Where only a Secret that can be read gives it
    /// away, `free` stands for it.
    fn gathered(free: &str) -> Gathered {
        let manifest = json!({ "spec": { "config": { "user": format!("app on >{MARKED} ~* +@all") } } });
        let mine = json!({
            "name": "mine", "image": "i", "command": ["sh", "-c", format!("serve {MARKED}")], "args": [MARKED],
            "env": [{ "name": "PLAIN", "value": MARKED }], "workingDir": MARKED,
            "readinessProbe": { "httpGet": { "httpHeaders": [{ "name": "x", "value": MARKED }] } },
            "lifecycle": { "preStop": { "exec": { "command": [MARKED] } } }
        });
        let volume = json!({ "name": "v", "csi": { "volumeAttributes": { "a": MARKED } } });
        let redis = json!({
            "kind": "Redis", "apiVersion": "k8s.amaiz.com/v1alpha1",
            "metadata": {
                "name": "cart", "managedFields": [{ "x": MARKED }],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": manifest.to_string(), "mine/word": MARKED,
                    "x.kubernetes.io/url": format!("redis://:{MARKED}@host")
                }
            },
            "spec": {
                "config": {
                    "user": format!("app on >{MARKED} ~* +@all"), "MasterAuth": MARKED, "masteruser": MARKED,
                    "tls-key-file-pass": MARKED, "rename-command": format!("CONFIG {MARKED}"),
                    "loadmodule": format!("/m.so {MARKED}"), "maxmemory": "100mb"
                },
                "annotations": { "mine": MARKED }, "initContainers": [mine], "volumes": [volume],
                "customConfig": [format!("requirepass {MARKED}"), format!("masterauth \"{MARKED}\"")],
                "customCommandRenames": [{ "from": "CONFIG", "to": MARKED }],
                "policyParameters": { "apiToken": MARKED, "url": format!("https://a:{MARKED}@host/x?sig={MARKED}") },
                "args": ["--pass", MARKED, "-a", MARKED, format!("--requirepass={MARKED}"), "kept"]
            },
            "status": { "conditions": [{ "type": "Degraded", "message": format!("line: 'requirepass \"{MARKED}\"' {free}") }] }
        });
        let own = json!({
            "name": "redis", "args": ["/config/redis.conf"],
            "env": [{ "name": "REDIS_ADDR", "value": "redis://localhost" }, { "name": "MINE", "value": MARKED }]
        });
        let pod = json!({
            "kind": "Pod", "metadata": { "name": "redis-cart-0" }, "spec": { "containers": [own, mine] },
            "status": { "containerStatuses": [{ "lastState": { "terminated": {
                "message": format!("*** FATAL CONFIG FILE ERROR ***\n>>> 'user app on >{MARKED}'\nAUTH {MARKED}") } } }] }
        });
        let hash = sha256();
        let config = format!(
            "maxmemory 100mb\nuser app on #{hash} ~*\nuser two on \">{MARKED}\" ~*\nrequirepass \"{MARKED}\"\n\
             sentinel auth-pass mymaster {MARKED}\n"
        );
        let config_map = json!({
            "kind": "ConfigMap", "metadata": { "name": "redis-cart" },
            "data": { "redis.conf": config }, "binaryData": { "x": base64(MARKED) }
        });
        let uri = format!("redis://default:{}@redis-cart-master.shop.svc:6379", in_uri());
        let secrets = vec![
            json!({
                "kind": "Secret", "metadata": { "name": "redis-cart-binding" }, "type": "servicebinding.io/redis",
                "data": { "type": base64("redis"), "uri": base64(&uri), "password": base64(MARKED) },
                "stringData": { "x": MARKED }
            }),
            json!({
                "kind": "Secret", "metadata": { "name": "pull" },
                "data": { ".dockerconfigjson": base64(&json!({ "auths": { "r": { "auth": base64(&format!("u:{MARKED}")), "password": MARKED } } }).to_string()) }
            }),
        ];
        let line = |text: &str| {
            let escaped = serde_json::to_string(text).unwrap();
            format!(
                "{{\"timestamp\":\"2026-01-01T00:00:01Z\",\"level\":\"WARN\",\"message\":\"action finished\",\
                 \"namespace\":\"shop\",\"name\":\"cart\",\"error\":{escaped},\"password\":{escaped}}}\n\
                 2026-01-01T00:00:02Z  WARN action finished error={escaped} name=\"cart\" namespace=\"shop\"\n"
            )
        };
        let log: String = [
            format!("ERR wrong directive: requirepass {MARKED}"),
            format!("redis://app:{MARKED}@h"),
            format!("ACL SETUSER app on >{MARKED} ~*"),
            format!("REDISCLI_AUTH={MARKED} redis-cli"),
            free.to_owned(),
        ]
        .iter()
        .map(|text| line(text))
        .collect();
        let operator = json!({
            "kind": "Pod", "metadata": { "name": "operator-a" },
            "spec": { "containers": [{ "name": "redis-operator", "args": ["run"], "env": [
                { "name": "HTTPS_PROXY", "value": format!("http://u:{MARKED}@proxy") },
                { "name": "REDIS_OPERATOR_REGISTRY_PASSWORD", "value": MARKED }
            ] }] }
        });
        Gathered {
            group: ("shop".into(), "cart".into()),
            at: "2026-01-01T00:00:00Z".into(),
            objects: vec![redis, pod, config_map],
            secrets,
            are_secrets_known: true,
            events: vec![json!({
                "note": format!("Back-off: redis-cli -a {MARKED} ping; {free}"), "reason": "BackOff",
                "metadata": { "annotations": { "a": MARKED } }, "related": { "x": MARKED }
            })],
            operators: vec![operator],
            logs: entries("operator-a", &log, ("shop", "cart")),
            view: Some(json!({
                "observation": { "instances": [{ "text": format!("ERR {free}") }], "parameters": "{}" },
                "decision": { "explanation": format!("because {free}"), "reason": "healthy" }
            })),
            screens: [format!("status: {free}"), format!("explained: {free}")],
            versions: json!({ "plugin": "0.1.0" }),
            missing: vec![format!("Pod x: {free}")],
        }
    }

    fn unpacked(archive: &[u8]) -> Vec<(String, String)> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let mut all = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            all.push((path, text));
        }
        all
    }

    #[test]
    fn a_bundle_has_no_password_wherever_there_was_one() {
        // Each word that a password could be known by, whole or in part.
        let hash = sha256();
        let forms = [MARKED.to_owned(), "Mark3d".into(), "Pass+word".into(), in_uri(), base64(MARKED), hash];
        for secrets_are_known in [true, false] {
            let mut gathered = gathered(if secrets_are_known { MARKED } else { "harmless" });
            if !secrets_are_known {
                (gathered.secrets, gathered.are_secrets_known) = (vec![], false);
            }
            let archive = archive("bundle", &files(&gathered), 0).unwrap();
            let all = unpacked(&archive);
            for (path, text) in &all {
                for form in &forms {
                    let at = text.find(form.as_str());
                    let near = at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(120))..at]);
                    assert!(at.is_none(), "{path} has {form} after {near:?}");
                }
            }
            // What helps is still there.
            let of = |path: &str| &all.iter().find(|(name, _)| name == &format!("bundle/{path}")).unwrap().1;
            assert!(of("objects/configmap-redis-cart.json").contains("maxmemory 100mb\\nuser app [removed]"));
            assert!(of("objects/redis-cart.json").contains("\"kept\""));
            assert!(of("objects/pod-redis-cart-0.json").contains("FATAL CONFIG FILE ERROR"));
            assert!(of("timeline.txt").contains("operator-a WARN  action finished"));
            assert!(of("decision.json").contains("healthy") && of("events.json").contains("BackOff"));
            assert!(of("README.txt").contains("Not here:\n- Pod x: "));
            assert_eq!(of("README.txt").contains("could not be read"), !secrets_are_known);
            assert_eq!(all.iter().any(|(path, _)| path.ends_with("secret-pull.json")), secrets_are_known);
        }
    }

    #[test]
    fn a_path_stays_in_its_folder() {
        let object = json!({ "kind": "Pod", "metadata": { "name": "../../x" } });
        assert_eq!(file_name(&object), "pod-.._.._x");
    }
}
