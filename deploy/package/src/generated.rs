//! The files of the charts and of the docs that are made from others. They are committed, so that a chart
//! installs from a clone; `package generate` writes them, and a test compares them.

use crate::book::BOOK;
use crate::documents::{documents, named, yaml};
use crate::reference::pages;
use crate::values::{rows, with_table};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// A file, relative to the clone, and its content.
pub struct Generated {
    /// With slashes.
    pub path: String,
    /// All of it.
    pub content: String,
}

/// What each file must have.
///
/// # Errors
/// If a file that they are made from is missing, or has another form.
pub fn generated(root: &Path) -> Result<Vec<Generated>> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let table = |chart: &str, readme: &str| -> Result<Generated> {
        let values = rows(&read(chart)?).with_context(|| chart.to_owned())?;
        let content = with_table(&read(readme)?, &values).with_context(|| readme.to_owned())?;
        Ok(Generated { path: readme.into(), content })
    };
    let copy = |path: &str, from: &str| -> Result<Generated> {
        Ok(Generated { path: path.into(), content: read(from)? })
    };
    let mut all = vec![
        copy("deploy/chart/files/crds.yaml", "deploy/crds.yaml")?,
        copy("deploy/chart/files/rules.yaml", "deploy/monitoring/rules.yaml")?,
        copy("deploy/chart/files/dashboard.json", "deploy/monitoring/dashboard.json")?,
        Generated { path: "deploy/chart/files/parts.yaml".into(), content: parts(&read)? },
        table("deploy/chart/values.yaml", "deploy/chart/README.md")?,
        table("deploy/chart-redis/values.yaml", "deploy/chart-redis/README.md")?,
    ];
    for (name, content) in pages(&read("deploy/crds.yaml")?).context("deploy/crds.yaml")? {
        all.push(Generated { path: format!("{BOOK}reference/{name}"), content });
    }
    Ok(all)
}

/// What the templates take over as it is: the rules of all roles, by what they are for, who may connect, and
/// the container but for what values change.
fn parts(read: &impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut objects = Vec::new();
    for path in [
        "deploy/cluster/groups.yaml",
        "deploy/cluster/nodes.yaml",
        "deploy/cluster/reviews.yaml",
        "deploy/cluster/people.yaml",
        "deploy/operator/rights.yaml",
        "deploy/operator/network.yaml",
        "deploy/operator/deployment.yaml",
    ] {
        objects.extend(documents(&read(path)?).with_context(|| path.to_owned())?);
    }
    let of = |kind: &str, name: &str, part: &str| -> Result<Value> {
        let part = named(&objects, kind, name)?.pointer(part);
        part.cloned().with_context(|| format!("{kind} {name} is of another form"))
    };
    let container = |field: &str| {
        of("Deployment", "redis-operator", &format!("/spec/template/spec/containers/0/{field}"))
    };
    let parts = json!({
        "container": {
            "args": container("args")?,
            "env": container("env")?,
            "ports": container("ports")?,
            "livenessProbe": container("livenessProbe")?,
            "readinessProbe": container("readinessProbe")?,
        },
        "ingress": of("NetworkPolicy", "redis-operator", "/spec/ingress")?,
        "groups": of("ClusterRole", "redis-operator", "/rules")?,
        "nodes": of("ClusterRole", "redis-operator-nodes", "/rules")?,
        "reviews": of("ClusterRole", "redis-operator-reviews", "/rules")?,
        "observe": of("ClusterRole", "redis-operator-observe", "/rules")?,
        "view": of("ClusterRole", "redis-operator-view", "/rules")?,
        "viewLabels": of("ClusterRole", "redis-operator-view", "/metadata/labels")?,
        "edit": of("ClusterRole", "redis-operator-edit", "/rules")?,
        "editLabels": of("ClusterRole", "redis-operator-edit", "/metadata/labels")?,
        "lease": of("Role", "redis-operator", "/rules")?,
        "ask": of("Role", "redis-operator-ask", "/rules")?,
    });
    Ok(format!(
        "# Generated from deploy/cluster and deploy/operator by `make package`: do not edit.\n{}",
        yaml(&parts)?
    ))
}
