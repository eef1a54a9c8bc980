//! Completions under kubectl. It runs this program as `kubectl_complete-redis` with the words so far, and
//! reads one candidate per line, then a directive that says what to do without one.

use super::Plugin;
use clap::{Command, CommandFactory};
use std::ffi::OsString;
use std::path::Path;

/// Whether the program was called by that name.
pub fn is_meant_by(arguments: &[OsString]) -> bool {
    arguments
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|name| NAMES.iter().any(|of| name == *of))
}

/// Candidates for the last word, which may be empty.
pub fn candidates(arguments: &[OsString]) -> String {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let (last, before) = words.split_last().map_or(("", &words[..]), |(last, before)| (*last, before));
    let mut plugin = Plugin::command();
    plugin.build();
    let command =
        before.iter().fold(&plugin, |command, word| command.find_subcommand(word).unwrap_or(command));
    let mut text: String = following(command, last).map(|candidate| candidate + "\n").collect();
    text += NO_FILES;
    text
}

fn following<'a>(command: &'a Command, last: &'a str) -> impl Iterator<Item = String> + 'a {
    let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
    let options = command
        .get_arguments()
        .filter(|option| !option.is_hide_set())
        .filter_map(|option| Some(format!("--{}", option.get_long()?)));
    commands
        .chain(options.filter(|_| last.starts_with('-')))
        .filter(move |candidate| candidate.starts_with(last))
}

/// For each name of the plugin.
const NAMES: &[&str] = &["kubectl_complete-redis", "kubectl_complete-redis_failover"];
/// Cobra's ShellCompDirectiveNoFileComp: no file names.
const NO_FILES: &str = ":4\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> String {
        candidates(&["kubectl_complete-redis"].iter().chain(words).map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn commands_and_options_are_completed_and_files_are_not() {
        assert_eq!(of(&["sw"]), "switchover\n:4\n");
        assert_eq!(of(&["switchover", "--no"]), "--no-wait\n:4\n");
        assert!(
            of(&["status", "example", "--op"]).contains("--operator-namespace\n")
                && of(&[""]).contains("explain\n")
        );
        assert_eq!(of(&["status", ""]), ":4\n");
        assert!(
            is_meant_by(&["/usr/local/bin/kubectl_complete-redis".into()])
                && !is_meant_by(&["kubectl-redis".into()])
        );
    }
}
