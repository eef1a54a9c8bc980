//! Argo CD's health scripts and actions, run by a Lua interpreter on the tests that lie beside them, in Argo
//! CD's own format. Scripts have what Argo CD gives them: the base functions and `table`, no `string`, and of
//! `os` the clock.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use package::documents::documents;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("argocd")
}

/// Each kind, and the one whose scripts it has.
const KINDS: &[(&str, &str)] = &[(REDIS, REDIS), (FAILOVER, REDIS), (POLICY, POLICY)];
const REDIS: &str = "k8s.amaiz.com/Redis";
const FAILOVER: &str = "databases.spotahome.com/RedisFailover";
const POLICY: &str = "k8s.amaiz.com/FailoverPolicy";

/// Argo CD runs Lua 5.1. None: it is not installed.
fn lua() -> Option<&'static str> {
    let found = ["lua5.1", "luajit", "lua"].into_iter().find(|name| {
        Command::new(name)
            .arg("-v")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found.is_none() {
        println!("skipped: Argo CD's scripts: no Lua interpreter; tests/setup/setup.sh lua installs one");
    }
    found
}

fn parsed(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents(&text).unwrap().remove(0)
}

/// A value as Lua writes it. JSON's escapes of the texts in these tests are Lua's, too.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("[{:?}]={}", key, literal(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// What a script returns for this object.
fn run(lua: &str, script: &Path, object: &Value) -> Value {
    let source = std::fs::read_to_string(script).unwrap();
    let program = format!(
        "{SANDBOX}\nenvironment.obj = {}\nlocal source = {}\n{RUN}",
        literal(object),
        literal(&source.into())
    );
    let mut child = Command::new(lua)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", script.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn health_is_what_its_tests_expect() {
    let Some(lua) = lua() else { return };
    for (kind, scripts) in KINDS {
        let (folder, script) = (folder().join(kind), folder().join(scripts).join("health.lua"));
        let tests = parsed(&folder.join("health_test.yaml"));
        let tests = tests["tests"].as_array().unwrap();
        assert!(tests.len() > 4);
        for test in tests {
            let input = test["inputPath"].as_str().unwrap();
            let health = run(lua, &script, &parsed(&folder.join(input)));
            assert_eq!(health, test["healthStatus"], "{kind} {input}");
        }
    }
}

/// A condition or a field of the status that is missing ends no script.
#[test]
fn an_incomplete_status_has_a_health() {
    let Some(lua) = lua() else { return };
    for (kind, scripts) in KINDS {
        let (folder, script) = (folder().join(kind), folder().join(scripts).join("health.lua"));
        let tests = parsed(&folder.join("health_test.yaml"));
        for test in tests["tests"].as_array().unwrap() {
            let object = parsed(&folder.join(test["inputPath"].as_str().unwrap()));
            for place in 0..object["status"]["conditions"].as_array().map_or(0, Vec::len) {
                let mut less = object.clone();
                less["status"]["conditions"].as_array_mut().unwrap().remove(place);
                let health = run(lua, &script, &less);
                assert!(health["status"].is_string(), "{health}");
            }
            let mut less = object.clone();
            less["spec"].as_object_mut().unwrap().remove("replicas");
            assert!(run(lua, &script, &less)["status"].is_string());
            for field in ["observedGeneration", "replicas", "master", "conditions"] {
                let mut less = object.clone();
                if let Some(status) = less["status"].as_object_mut() {
                    status.remove(field);
                }
                let health = run(lua, &script, &less);
                assert!(health["status"].is_string() && health["message"].is_string(), "{field}: {health}");
            }
        }
    }
}

#[test]
fn actions_are_offered_and_change_what_their_tests_expect() {
    let Some(lua) = lua() else { return };
    let scripts = folder().join(REDIS).join("actions");
    for kind in [REDIS, FAILOVER] {
        let folder = folder().join(kind);
        let tests = parsed(&folder.join("actions/action_test.yaml"));
        for test in tests["discoveryTests"].as_array().unwrap() {
            let input = test["inputPath"].as_str().unwrap();
            let offered = run(lua, &scripts.join("discovery.lua"), &parsed(&folder.join(input)));
            assert_eq!(offered.as_object().unwrap().len(), test["result"].as_array().unwrap().len());
            for action in test["result"].as_array().unwrap() {
                let name = action["name"].as_str().unwrap();
                assert_eq!(offered[name]["disabled"], action["disabled"], "{kind} {input}: {name}");
            }
        }
        let acted = |action: &str, input: &str| {
            run(lua, &scripts.join(action).join("action.lua"), &parsed(&folder.join(input)))
        };
        for test in tests["actionTests"].as_array().unwrap() {
            let text = |field: &str| test[field].as_str().unwrap();
            let expected = parsed(&folder.join(text("expectedOutputPath")));
            assert_eq!(acted(text("action"), text("inputPath")), expected, "{kind} {}", text("action"));
        }
        // It has the time of the request, so that another one is another.
        let switched = acted("switchover", "testdata/healthy.yaml");
        let id = switched["spec"]["switchover"]["id"].as_str().unwrap();
        assert!(
            id.starts_with("argocd-2") && id.len() <= 63 && switched["spec"]["switchover"]["to"].is_null(),
            "{id}"
        );
    }
}

const SANDBOX: &str = r#"
local clock = { date = os.date, time = os.time, clock = os.clock }
local environment = {
  ipairs = ipairs, pairs = pairs, next = next, type = type, tostring = tostring, tonumber = tonumber,
  error = error, pcall = pcall, select = select, unpack = unpack, table = table, os = clock,
  require = function(name) assert(name == "os", "no library is called " .. name) return clock end,
}
"#;

const RUN: &str = r#"
local script
if setfenv then script = setfenv(assert(loadstring(source)), environment)
else script = assert(load(source, "script", "t", environment)) end
local function json(value)
  if type(value) ~= "table" then
    if type(value) == "string" then return '"' .. value:gsub('[\\"]', "\\%0") .. '"' end
    return tostring(value)
  end
  local parts = {}
  if #value > 0 then
    for _, item in ipairs(value) do parts[#parts + 1] = json(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for key, item in pairs(value) do parts[#parts + 1] = json(key) .. ":" .. json(item) end
  return "{" .. table.concat(parts, ",") .. "}"
end
io.write(json(script()))
"#;
