//! The links of a book as HTML: each one within it leads to a page or a file that exists, and to an
//! anchor that is there. Links that leave the book are not followed.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// What is known of one page.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

/// The links of the book in that folder that lead nowhere, each with its page.
///
/// # Errors
/// A file that cannot be read, or a folder without pages.
pub fn broken(book: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![book.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "html") {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                pages.insert(path.strip_prefix(book)?.to_owned(), page(&text));
            }
        }
    }
    anyhow::ensure!(!pages.is_empty(), "{}: no pages", book.display());
    let mut found = Vec::new();
    // That of addresses that are not there: its links begin at the site's root.
    for (name, page) in pages.iter().filter(|(name, _)| !name.ends_with("404.html")) {
        for link in page.links.iter().filter(|link| !leads(book, &pages, name, link)) {
            found.push(format!("{}: {link}", name.display()));
        }
    }
    Ok(found)
}

fn leads(book: &Path, pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.contains(':') || path.starts_with("//") {
        return true;
    }
    let Some(target) = target(from, path) else { return false };
    match pages.get(&target) {
        Some(page) => anchor.is_empty() || page.anchors.contains(anchor),
        None => book.join(&target).is_file(),
    }
}

/// The file that a link of a page names. None: one outside of the book.
fn target(from: &Path, path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut target = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !target.pop() {
                    return None;
                }
            }
            Component::Normal(name) => target.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(target)
}

/// Quotes within text are escaped, so what looks like an attribute is one.
fn page(html: &str) -> Page {
    let of = |name: &str| {
        let starts = html.match_indices(name).map(|(at, _)| at + name.len());
        starts.filter_map(|at| Some(html.get(at..)?.split_once('"')?.0.to_owned())).collect::<Vec<_>>()
    };
    let links = [of(" href=\""), of(" src=\"")].concat();
    let links = links.into_iter().map(|link| link.replace("&amp;", "&")).collect();
    Page { links, anchors: of(" id=\"").into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_page_a_file_or_an_anchor_of_the_book_or_it_is_broken() {
        let dir = tempfile::tempdir().expect("a folder");
        let book = dir.path();
        let write = |name: &str, text: &str| {
            let path = book.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        let index = r##"<link href="marks.css"><h1 id="top">x</h1> <a href="tasks/tls.html#names">n</a>
            <a href="#top">t</a> <a href="#bottom">b</a> <a href="tasks/gone.html">g</a>
            <a href="https://example.com/x.html#y">o</a> <code>&lt;a href=&quot;no.html&quot;&gt;</code>
            <img src="icon.svg">"##;
        write("index.html", index);
        write("marks.css", "");
        write(
            "tasks/tls.html",
            r#"<h2 id="names">n</h2> <a href="../index.html">i</a> <a href="../../out.md">o</a>"#,
        );
        assert_eq!(
            broken(book).expect("it was read"),
            [
                "index.html: #bottom",
                "index.html: tasks/gone.html",
                "index.html: icon.svg",
                "tasks/tls.html: ../../out.md"
            ]
        );
    }
}
