//! The file system of an image, as far as it decides about users: layers over one another, links followed.
//!
//! What is deliberately absent: entries that reach a wanted path through a symbolic link in the middle of their own
//! name. Tools that unpack layers one by one and tools that unpack them into one folder differ there; no builder
//! writes such layers. Where a layer's folder covers a link without saying so, the image is refused.

use std::collections::{BTreeSet, VecDeque};

use super::layer::{Fact, Facts, ancestors};

/// LIMIT: as many symbolic links as Linux follows.
const MAX_LINKS: usize = 40;
/// LIMIT: as long as a path of Linux, in parts of one letter.
const MAX_PARTS: usize = 2048;

/// The two files.
pub(super) const PASSWD: &str = "etc/passwd";
pub(super) const GROUP: &str = "etc/group";

/// Paths that are looked for from the start: the files, and where distributions that keep `/etc` clean have them.
const USUAL: [&str; 6] = [PASSWD, GROUP, "usr/etc/passwd", "usr/etc/group", "usr/lib/passwd", "usr/lib/group"];

/// The paths to look for in the first reading of a layer.
pub(super) fn usual() -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for path in USUAL {
        want(&mut wanted, path);
    }
    wanted
}

/// Adds a path and the folders above it.
pub(super) fn want(wanted: &mut BTreeSet<String>, path: &str) {
    wanted.extend(ancestors(path).map(str::to_owned));
    wanted.insert(path.to_owned());
}

/// What the layers say of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Its content; `None` when it does not exist.
    Known(Option<String>),
    /// This layer must be read first.
    Layer(usize),
    /// This path must be looked for, too.
    Path(String),
}

enum Stop {
    Layer(usize),
    Path(String),
    Refused(String),
}

/// A node at a path, its last part not followed.
enum Node {
    Absent,
    Directory,
    Link(String),
    /// A hard link of this layer to what the layers below have at the path.
    Below(usize, String),
    File(String),
}

/// The content of a file of the image. `layers` are bottom first; one that was not read is `None`.
pub(super) fn file(layers: &[Option<&Facts>], path: &str) -> Result<Answer, String> {
    match walk(layers, layers.len(), path, 0) {
        Ok(content) => Ok(Answer::Known(content)),
        Err(Stop::Layer(layer)) => Ok(Answer::Layer(layer)),
        Err(Stop::Path(path)) => Ok(Answer::Path(path)),
        Err(Stop::Refused(reason)) => Err(reason),
    }
}

fn fact<'a>(layers: &[Option<&'a Facts>], layer: usize, path: &str) -> Result<Option<&'a Fact>, Stop> {
    let facts = layers.get(layer).copied().flatten().ok_or(Stop::Layer(layer))?;
    if !facts.wanted.contains(path) {
        return Err(Stop::Path(path.to_owned()));
    }
    Ok(facts.found.get(path))
}

/// What the first `count` layers have at a path whose folders are no links.
fn node(layers: &[Option<&Facts>], count: usize, path: &str) -> Result<Node, Stop> {
    let mut covered = false;
    for layer in (0..count).rev() {
        let mut emptied = false;
        for folder in ancestors(path) {
            match fact(layers, layer, folder)? {
                None => {}
                Some(Fact::Directory { opaque, .. }) => emptied |= opaque,
                // Upper layers made a folder of it, so nothing shows through from here.
                Some(_) => return Ok(if covered { Node::Directory } else { Node::Absent }),
            }
        }
        let found = fact(layers, layer, path)?;
        match found {
            None => {}
            Some(Fact::Directory { opaque: false, implied: true }) => covered = true,
            Some(Fact::Directory { .. }) => return Ok(Node::Directory),
            Some(Fact::Whiteout) => return Ok(if covered { Node::Directory } else { Node::Absent }),
            Some(_) if covered => {
                return Err(Stop::Refused(format!(
                    "`{path}` is a link or a file in layer {}, and a layer above puts something into it as into a folder",
                    layer.saturating_add(1)
                )));
            }
            Some(Fact::File(content)) => return Ok(Node::File(content.clone())),
            Some(Fact::Symlink(target)) => return Ok(Node::Link(target.clone())),
            Some(Fact::Hardlink(target)) => return Ok(Node::Below(layer, target.clone())),
            Some(Fact::Strange) => {
                return Err(Stop::Refused(format!("`{path}` is longer than 1 MiB or has holes")));
            }
            Some(Fact::Other) => return Err(Stop::Refused(format!("`{path}` is a device or a pipe"))),
        }
        if emptied {
            break;
        }
    }
    Ok(if covered { Node::Directory } else { Node::Absent })
}

fn walk(layers: &[Option<&Facts>], count: usize, path: &str, mut links: usize) -> Result<Option<String>, Stop> {
    let mut rest: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let mut here = String::new();
    while let Some(part) = rest.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                // Above the root is the root.
                here.truncate(here.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let next = if here.is_empty() { part } else { format!("{here}/{part}") };
        let mut follow = || {
            links = links.saturating_add(1);
            if links > MAX_LINKS {
                return Err(Stop::Refused(format!("more than {MAX_LINKS} links")));
            }
            Ok(())
        };
        match node(layers, count, &next)? {
            Node::Absent => return Ok(None),
            Node::Directory => here = next,
            Node::Link(target) => {
                follow()?;
                if target.starts_with('/') {
                    here.clear();
                }
                for part in target.split('/').rev() {
                    rest.push_front(part.to_owned());
                }
                if rest.len() > MAX_PARTS {
                    return Err(Stop::Refused("a link to a path that is too long".into()));
                }
            }
            Node::Below(layer, target) => {
                follow()?;
                if rest.iter().any(|part| !part.is_empty()) {
                    return Err(Stop::Refused(format!("`{next}` is not a folder")));
                }
                let content = walk(layers, layer, &target, links)?;
                let missing = || Stop::Refused(format!("`{next}` is a hard link to `{target}`, which does not exist"));
                return content.ok_or_else(missing).map(Some);
            }
            Node::File(content) => {
                if rest.iter().any(|part| !part.is_empty()) {
                    return Err(Stop::Refused(format!("`{next}` is not a folder")));
                }
                return Ok(Some(content));
            }
        }
    }
    Err(Stop::Refused("it is a folder".into()))
}

#[cfg(test)]
mod tests;
