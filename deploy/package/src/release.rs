//! What names a release: the manifest of the plugin for krew, the formula for Homebrew, and the charts with
//! where they come from. Made from the archives' checksums.

use crate::book::BOOK;
use crate::documents::{documents, yaml};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A release.
pub struct Release {
    /// Without `v`.
    pub version: String,
    /// The repository's page, without a slash at its end.
    pub repository: String,
    /// Registry and name of the image, without a tag.
    pub image: String,
    /// For questions.
    pub maintainer: Maintainer,
}

/// Who answers.
#[derive(Clone)]
pub struct Maintainer {
    /// As people write it.
    pub name: String,
    /// E-mail.
    pub email: String,
}

/// An archive of the program.
#[derive(Debug, PartialEq, Eq)]
pub struct Archive {
    /// As Rust names it: `x86_64-unknown-linux-musl`.
    pub target: String,
    /// Lower-case hex.
    pub sha256: String,
}

impl std::str::FromStr for Maintainer {
    type Err = String;

    /// `NAME <EMAIL>`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.strip_suffix('>').and_then(|text| text.split_once(" <"));
        let (name, email) = parts.ok_or_else(|| format!("{text} is not of the form NAME <EMAIL>"))?;
        Ok(Self { name: name.into(), email: email.into() })
    }
}

impl Release {
    /// The name of an archive, and of the folder in it, as `cargo binstall` looks for it.
    pub fn archive(&self, target: &str) -> String {
        format!("redis-operator-{target}-v{}", self.version)
    }

    /// Where the files of this release can be read.
    pub fn tree(&self) -> String {
        format!("{}/blob/v{}", self.repository, self.version)
    }

    /// The first page of the book.
    pub fn book(&self) -> String {
        format!("{}/{BOOK}README.md", self.tree())
    }

    /// A file whose links lead to the pages of this release: those of alerts to their runbooks.
    pub fn located(&self, text: &str) -> String {
        text.replace(CLONE, &self.tree())
    }

    /// The archives of this release in the checksums, one `SHA256  FILE` a line. Other files are passed over.
    ///
    /// # Errors
    /// If a line has another form, or there is none.
    pub fn archives(&self, checksums: &str) -> Result<Vec<Archive>> {
        let mut archives = Vec::new();
        for line in checksums.lines() {
            let (sum, file) = line.split_once("  ").with_context(|| format!("no checksum: {line}"))?;
            let is_hex = sum.len() == 64 && sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            ensure!(is_hex, "no SHA-256: {line}");
            let end = format!("-v{}.tgz", self.version);
            let target = file.strip_prefix("redis-operator-").and_then(|file| file.strip_suffix(&end));
            if let Some(target) = target.filter(|target| target.contains("-linux-")) {
                archives.push(Archive { target: target.into(), sha256: sum.into() });
            }
        }
        ensure!(!archives.is_empty(), "no archive of version {} among the checksums", self.version);
        Ok(archives)
    }

    fn address(&self, target: &str) -> String {
        format!("{}/releases/download/v{}/{}.tgz", self.repository, self.version, self.archive(target))
    }

    /// The manifest of the plugin under a name: `redis`, or `redis-failover` where that is taken.
    ///
    /// # Errors
    /// If krew knows no such processor.
    pub fn krew(&self, name: &str, archives: &[Archive]) -> Result<String> {
        let platform = |archive: &Archive| -> Result<Value> {
            let folder = self.archive(&archive.target);
            Ok(json!({
                "selector": {"matchLabels": {"os": "linux", "arch": processor(&archive.target)?.0}},
                "uri": self.address(&archive.target),
                "sha256": archive.sha256,
                "bin": format!("{folder}/redis-operator"),
            }))
        };
        yaml(&json!({
            "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
            "kind": "Plugin",
            "metadata": {"name": name},
            "spec": {
                "version": format!("v{}", self.version),
                "homepage": self.repository,
                "shortDescription": "Show and steer Redis failover",
                "description": "Shows the master, the replicas and the last failover of the Redis resources of the redis-operator, \
                                explains its decisions, requests a switchover, and pauses failover.\n",
                "platforms": archives.iter().map(platform).collect::<Result<Vec<_>>>()?,
            },
        }))
    }

    /// The formula of the program.
    ///
    /// # Errors
    /// If Homebrew knows no such processor.
    pub fn formula(&self, archives: &[Archive]) -> Result<String> {
        let mut choices = String::new();
        for archive in archives {
            choices += &format!(
                "    on_{} do\n      url \"{}\"\n      sha256 \"{}\"\n    end\n",
                processor(&archive.target)?.1,
                self.address(&archive.target),
                archive.sha256
            );
        }
        Ok(format!(
            r##"class RedisOperator < Formula
  desc "Failover for Redis and Valkey without Sentinel, on Kubernetes and off it"
  homepage "{}"
  version "{}"
  license "Apache-2.0"

  on_linux do
{choices}  end

  def install
    bin.install "redis-operator"
    bin.install_symlink "redis-operator" => "kubectl-redis"
    bin.install_symlink "redis-operator" => "kubectl_complete-redis"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"redis-operator", "completions")
  end

  test do
    assert_match version.to_s, shell_output("#{{bin}}/redis-operator --version")
    system bin/"redis-operator", "policy", "inspect"
  end
end
"##,
            self.repository, self.version
        ))
    }

    /// A chart's `Chart.yaml` with its home, and for the operator's with its definitions, an example of each,
    /// and its image.
    ///
    /// # Errors
    /// If the chart is no YAML.
    pub fn chart(&self, chart: &str, of_operator: Option<(&[&Value], &[Value])>) -> Result<String> {
        let mut chart = documents(chart)?.into_iter().next().context("the chart has no description")?;
        let mut annotate = |name: &str, value: Value| -> Result<()> {
            chart["annotations"][format!("artifacthub.io/{name}")] = yaml(&value)?.into();
            Ok(())
        };
        let links = [("documentation", self.book()), ("support", format!("{}/issues", self.repository))];
        let links: Vec<Value> = links.iter().map(|(name, url)| json!({"name": name, "url": url})).collect();
        annotate("links", links.into())?;
        if let Some((definitions, examples)) = of_operator {
            let listed = definitions.iter().map(|definition| {
                let version = &definition["spec"]["versions"][0];
                let (name, kind) = (&definition["metadata"]["name"], &definition["spec"]["names"]["kind"]);
                let description = &version["schema"]["openAPIV3Schema"]["description"];
                json!({"kind": kind, "version": version["name"], "name": name, "displayName": kind,
                    "description": description})
            });
            annotate("crds", listed.collect())?;
            annotate("crdsExamples", examples.into())?;
            let (image, platforms) =
                (format!("{}:{}", self.image, self.version), ["linux/amd64", "linux/arm64"]);
            annotate("images", json!([{"name": "redis-operator", "image": image, "platforms": platforms}]))?;
        }
        let Maintainer { name, email } = &self.maintainer;
        chart["home"] = self.repository.as_str().into();
        chart["sources"] = json!([self.repository]);
        chart["maintainers"] = json!([{"name": name, "email": email}]);
        yaml(&chart)
    }
}

/// A target's processor, as Go and Homebrew name it.
fn processor(target: &str) -> Result<(&'static str, &'static str)> {
    match target.split('-').next() {
        Some("x86_64") => Ok(("amd64", "intel")),
        Some("aarch64") => Ok(("arm64", "arm")),
        _ => bail!("{target} is for no known processor"),
    }
}

/// Where the files of a clone say that they can be read.
const CLONE: &str = "https://example.com/redis-operator/blob/main";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_clone_lead_to_the_release() {
        let located = release().located(&format!("runbook_url: {CLONE}/deploy/docs/src/runbooks/A.md\n"));
        let there = "https://example.com/redis-operator/blob/v1.2.3/deploy/docs/src/runbooks/A.md";
        assert_eq!(located, format!("runbook_url: {there}\n"));
    }

    fn release() -> Release {
        Release {
            version: "1.2.3".into(),
            repository: "https://example.com/redis-operator".into(),
            image: "registry.example.com/redis-operator".into(),
            maintainer: "The authors <authors@example.com>".parse().expect("it has this form"),
        }
    }

    #[test]
    fn archives_are_found_among_the_checksums_and_others_are_not() {
        let (one, other) = ("0".repeat(64), "f".repeat(64));
        let checksums = format!(
            "{one}  redis-operator-x86_64-unknown-linux-musl-v1.2.3.tgz\n{one}  install.yaml\n\
             {other}  redis-operator-aarch64-unknown-linux-musl-v1.2.3.tgz\n\
             {other}  redis-operator-aarch64-unknown-linux-musl-v1.2.2.tgz\n"
        );
        let archives = release().archives(&checksums).expect("they are checksums");
        let archive = |target: &str, sum: &str| Archive { target: target.into(), sha256: sum.into() };
        assert_eq!(
            archives,
            [archive("x86_64-unknown-linux-musl", &one), archive("aarch64-unknown-linux-musl", &other)]
        );
        let krew = release().krew("redis", &archives).expect("both are known");
        let krew: Value = serde_saphyr::from_str(&krew).expect("it is YAML");
        assert_eq!(krew["spec"]["platforms"][1]["selector"]["matchLabels"]["arch"], "arm64");
        assert_eq!(
            krew["spec"]["platforms"][0]["uri"],
            "https://example.com/redis-operator/releases/download/v1.2.3/\
             redis-operator-x86_64-unknown-linux-musl-v1.2.3.tgz"
        );
        let formula = release().formula(&archives).expect("both are known");
        assert!(
            formula.contains("on_arm do") && formula.contains(&format!("sha256 \"{other}\"")),
            "{formula}"
        );
        for bad in
            ["", "abc  redis-operator-x86_64-unknown-linux-musl-v1.2.3.tgz", &format!("{one}  install.yaml")]
        {
            assert!(release().archives(bad).is_err(), "{bad}");
        }
        assert!(release().krew("redis", &[archive("riscv64gc-unknown-linux-musl", &one)]).is_err());
    }
}
