//! `package`: writes the generated files of `deploy/`, or what a release ships. `make package` calls it.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use package::book::published;
use package::bundle::{Source, bundle};
use package::documents::{definitions, documents, examples};
use package::generated::generated;
use package::release::{Maintainer, Release};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make what a release ships from `deploy/`
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The page of the repository
    #[arg(long, global = true, env = "REPOSITORY", default_value = "https://example.com/redis-operator")]
    repository: String,
    /// Registry and name of the operator's image
    #[arg(long, global = true, env = "IMAGE", default_value = "redis-operator")]
    image: String,
    /// Who answers questions
    #[arg(
        long,
        global = true,
        env = "MAINTAINER",
        default_value = "The Redis Operator authors <maintainers@example.com>"
    )]
    maintainer: Maintainer,
}

#[derive(Subcommand)]
enum Command {
    /// Write the committed files that are made from others
    Generate {
        /// Write nothing, and fail if one differs
        #[arg(long)]
        check: bool,
    },
    /// Copy a chart, with its home and its image
    Chart { chart: PathBuf, output: PathBuf },
    /// Make the OLM bundle
    Bundle {
        /// What `kubectl kustomize deploy` renders
        deployed: PathBuf,
        output: PathBuf,
        /// When this version was made, RFC 3339
        #[arg(long)]
        created: String,
    },
    /// Copy the documentation, as mdBook reads it: links that leave it lead to the repository
    Book { output: PathBuf },
    /// Make the plugin's manifests and the formula, from the archives' checksums
    Plugin { checksums: PathBuf, output: PathBuf },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let root = root();
    let release = Release {
        version: env!("CARGO_PKG_VERSION").into(),
        repository: cli.repository.trim_end_matches('/').into(),
        image: cli.image,
        maintainer: cli.maintainer,
    };
    match cli.command {
        Command::Generate { check } => generate(&root, check),
        Command::Chart { chart, output } => copy_chart(&release, &root, &chart, &output),
        Command::Bundle { deployed, output, created } => {
            let (deployed, icon) = (documents(&read(&deployed)?)?, read(&root.join("deploy/icon.svg"))?);
            let examples = examples(&definitions(&deployed), &all_examples(&root)?)?;
            let source = Source { deployed: &deployed, examples: &examples, icon: &icon, created: &created };
            for (path, content) in bundle(&release, &source)? {
                write(&output.join(path), &content)?;
            }
            Ok(())
        }
        Command::Book { output } => copy_book(&release, &root, &output),
        Command::Plugin { checksums, output } => {
            let archives = release.archives(&read(&checksums)?)?;
            for name in ["redis", "redis-failover"] {
                write(&output.join(format!("krew/{name}.yaml")), &release.krew(name, &archives)?)?;
            }
            write(&output.join("homebrew/redis-operator.rb"), &release.formula(&archives)?)
        }
    }
}

fn generate(root: &Path, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for file in generated(root)? {
        let path = root.join(&file.path);
        if std::fs::read_to_string(&path).is_ok_and(|content| content == file.content) {
            continue;
        }
        if !check {
            write(&path, &file.content)?;
            println!("{}", file.path);
        }
        stale.push(file.path);
    }
    if check && !stale.is_empty() {
        bail!("not up to date: {}: cargo run -p package -- generate", stale.join(", "));
    }
    Ok(())
}

fn copy_chart(release: &Release, root: &Path, chart: &Path, output: &Path) -> Result<()> {
    let mut folders = vec![chart.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let to = output.join(path.strip_prefix(chart)?);
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "Chart.yaml") {
                let crds = chart.join("files/crds.yaml");
                let crds = if crds.is_file() { documents(&read(&crds)?)? } else { Vec::new() };
                let definitions = definitions(&crds);
                let examples = examples(&definitions, &all_examples(root)?)?;
                let of_operator = (!crds.is_empty()).then_some((&definitions[..], &examples[..]));
                write(&to, &release.chart(&read(&path)?, of_operator)?)?;
            } else if path.file_name().is_some_and(|name| name == "values.yaml") {
                let ours = "\n  repository: redis-operator\n";
                write(&to, &read(&path)?.replace(ours, &format!("\n  repository: {}\n", release.image)))?;
            } else {
                write(&to, &release.located(&read(&path)?))?;
            }
        }
    }
    write(&output.join("LICENSE"), &read(&root.join("LICENSE"))?)
}

fn copy_book(release: &Release, root: &Path, output: &Path) -> Result<()> {
    let mut folders = vec![root.join("deploy/docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.display().to_string();
            let to = output.join(path.strip_prefix(root.join("deploy/docs"))?);
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                write(&to, &published(&name, &read(&path)?, &release.tree()))?;
            } else {
                write(&to, &read(&path)?)?;
            }
        }
    }
    Ok(())
}

/// Every manifest of `example/`.
fn all_examples(root: &Path) -> Result<Vec<Value>> {
    let (mut folders, mut all) = (vec![root.join("example")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                all.extend(documents(&read(&path)?).with_context(|| path.display().to_string())?);
            }
        }
    }
    // Whatever order the file system has them in.
    all.sort_by_key(Value::to_string);
    Ok(all)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}
