//! The documentation as Markdown: what its pages link to, which blocks of commands and of YAML they have, and
//! the book as a release has it, where links that leave the book lead to the repository.

/// A block between fences.
#[derive(Debug, PartialEq, Eq)]
pub struct Fence {
    /// Number of its first fence's line, from 1.
    pub line: usize,
    /// `sh`, `yaml`, `text`. Empty: none.
    pub language: String,
    /// What stands after the language.
    pub words: Vec<String>,
    /// Without the fences.
    pub content: String,
}

/// The blocks of a page, in order.
pub fn fences(page: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut open: Option<Fence> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                open = Some(Fence {
                    line: number + 1,
                    language,
                    words: words.collect(),
                    content: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(fence)) => {
                fence.content += line;
                fence.content.push('\n');
            }
            (None, None) => {}
        }
    }
    found.extend(open);
    found
}

/// The commands of a block, one each: lines that end with a backslash go on, comments are left out.
pub fn commands(block: &str) -> Vec<String> {
    let whole = block.replace("\\\n", " ");
    let lines = whole.lines().map(|line| match line.split_once(" # ") {
        // As a shell reads it, where no quote is open.
        Some((command, _)) if command.matches(['"', '\'']).count() % 2 == 0 => command.trim().to_owned(),
        _ => line.trim().to_owned(),
    });
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The targets of the links of a page, with the place of each: those in blocks and in code are none.
pub fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_block = false;
    for line in page.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            // What has the same length, and no code in it.
            let plain: String = line.split('`').enumerate().fold(String::new(), |text, (part, words)| {
                let tick = if part == 0 { "" } else { "`" };
                text + tick + &if part % 2 == 0 { words.to_owned() } else { " ".repeat(words.len()) }
            });
            for (start, _) in plain.match_indices("](") {
                let start = start + 2;
                let end = plain.get(start..).and_then(|rest| rest.find(')'));
                if let Some(target) = end.and_then(|end| line.get(start..start + end)) {
                    found.push((at + start, target.to_owned()));
                }
            }
        }
        at += line.len();
    }
    found
}

/// The anchors of a page's headings, as GitHub and mdBook name them.
pub fn anchors(page: &str) -> Vec<String> {
    let mut is_block = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_block ^= is_fence;
        !is_block && !is_fence
    });
    let headings = lines.filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// A path of the repository, relative to its top, that a link of a file there names. None: it leads
/// elsewhere, or out of the repository.
pub fn resolved(file: &str, target: &str) -> Option<String> {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return Some(file.to_owned());
    }
    if path.contains(':') || path.starts_with('/') {
        return None;
    }
    let mut folders: Vec<&str> = file.split('/').collect();
    folders.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                folders.pop()?;
            }
            name => folders.push(name),
        }
    }
    Some(folders.join("/"))
}

/// A page of the book, where links to files outside of it lead to `base`: `REPOSITORY/blob/VERSION`.
pub fn published(file: &str, page: &str, base: &str) -> String {
    let mut text = String::new();
    let mut from = 0;
    for (at, target) in links(page) {
        let outside = resolved(file, &target).filter(|path| !path.starts_with(BOOK));
        if let Some(path) = outside {
            let anchor = target.split_once('#').map(|(_, anchor)| format!("#{anchor}")).unwrap_or_default();
            text += page.get(from..at).unwrap_or_default();
            text += &format!("{base}/{path}{anchor}");
            from = at + target.len();
        }
    }
    text + page.get(from..).unwrap_or_default()
}

/// Where the pages are.
pub const BOOK: &str = "deploy/docs/src/";

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page: its `name`\nSee [one](two.md#three), `[not](this)` and\n\
                        [out](../../chart/README.md).\n```sh not-run\n# [no](link)\none \\\n  --two # says\n```\n";

    #[test]
    fn blocks_have_their_words_and_commands() {
        let fences = fences(PAGE);
        let fence = fences.first().expect("there is one");
        assert_eq!((fence.line, fence.language.as_str()), (4, "sh"));
        assert_eq!(fence.words, ["not-run"]);
        assert_eq!(commands(&fence.content), ["one    --two"]);
        assert_eq!(commands("echo 'a # b'\n"), ["echo 'a # b'"]);
    }

    #[test]
    fn links_are_found_outside_of_code() {
        let targets: Vec<String> = links(PAGE).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, ["two.md#three", "../../chart/README.md"]);
        assert_eq!(anchors(PAGE), ["a-page-its-name"]);
        assert_eq!(resolved("deploy/docs/src/a.md", "two.md#x").as_deref(), Some("deploy/docs/src/two.md"));
        assert_eq!(resolved("README.md", "#x").as_deref(), Some("README.md"));
        assert_eq!(resolved("README.md", "../x.md"), None);
        assert_eq!(resolved("README.md", "https://example.com/x.md"), None);
    }

    #[test]
    fn links_that_leave_the_book_lead_to_the_repository() {
        let published = published("deploy/docs/src/a.md", PAGE, "https://example.com/r/blob/v1");
        assert!(published.contains("[one](two.md#three)"), "{published}");
        assert!(
            published.contains("[out](https://example.com/r/blob/v1/deploy/chart/README.md)."),
            "{published}"
        );
        assert!(published.contains("`[not](this)`"), "{published}");
    }
}
