//! `policy expand`: scenario files in their full form, for hosts in other languages and for reading. Nothing
//! is checked: `policy check` does that.

use std::io::{Write, stderr};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::{Environment, Exit, PolicyChoice, print, print_json};
use crate::conformance::{Scenario, read_scenarios};
use crate::policy::{Policy, Stop};

/// Write scenario files in full: the observation, and the decision that the policy takes on it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  redis-operator policy expand tests/scenarios/link-up-is-not-in-sync.json\n  \
                        redis-operator policy expand tests/scenarios --output full\n\nEach file becomes \
                        {\"why\": …, \"observation\": …, \"decision\": …}, whichever form it had. Where \
                        the decision is not what the file expects, a line on standard error says so. Exit \
                        codes: 0 written, 1 the policy gave no usable answer, 2 bad input."
)]
pub(super) struct Args {
    /// Scenario files, or directories of such files
    #[arg(required = true, value_name = "FILE|DIR")]
    scenarios: Vec<PathBuf>,
    /// Directory for the full files, one each under its own name [default: standard output, one line each
    /// where there are several]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    choice: PolicyChoice,
}

pub(super) fn run(arguments: &Args, environment: &Environment) -> Result<u8, Exit> {
    let mut scenarios = Vec::new();
    for path in &arguments.scenarios {
        scenarios.extend(read_scenarios(path).map_err(|error| Exit::Input(error.to_string()))?);
    }
    let component = arguments.choice.load(&arguments.choice.sandbox(environment)?)?;
    let stop = Stop::default();
    let policy = component.on_trial(&stop);
    let expanded: Vec<(String, Value)> = scenarios
        .into_iter()
        .map(|scenario| Ok((scenario.name.clone(), expand(&policy, scenario)?)))
        .collect::<Result<_, Exit>>()?;
    match (&arguments.output, expanded.as_slice()) {
        (Some(directory), expanded) => {
            let failed = |error| Exit::Input(format!("{}: {error}", directory.display()));
            std::fs::create_dir_all(directory).map_err(failed)?;
            for (name, full) in expanded {
                std::fs::write(directory.join(name).with_extension("json"), format!("{full:#}\n"))
                    .map_err(failed)?;
            }
            print(&format!("{}: {} scenarios\n", directory.display(), expanded.len()))?;
        }
        (None, [(_, full)]) => print_json(full)?,
        (None, expanded) => expanded.iter().try_for_each(|(_, full)| print(&format!("{full}\n")))?,
    }
    Ok(0)
}

fn expand(policy: &impl Policy, scenario: Scenario) -> Result<Value, Exit> {
    let name = &scenario.name;
    let decision =
        policy.decide(&scenario.observation).map_err(|fault| Exit::Failed(format!("{name}: {fault}")))?;
    if let Some(difference) = scenario.difference(&decision) {
        // A reader that went away misses a remark.
        drop(writeln!(stderr(), "{name}: {difference}"));
    }
    Ok(json!({ "why": scenario.why, "observation": scenario.observation, "decision": decision }))
}
