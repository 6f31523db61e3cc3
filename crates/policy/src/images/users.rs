//! Users and groups of an image, looked up as containerd looks them up.
//!
//! The kubelet hands containerd the image's user without its group, or the pod's `runAsUser`; containerd asks the
//! image's `/etc/passwd` for the group and `/etc/group` for the supplementary groups. Both files are read by Go code
//! that is lenient: a field that is no number counts as 0, and the first line that fits wins.

use serde::{Deserialize, Serialize};

use super::document::quote;

/// LIMIT: containerd refuses numbers beyond what runc takes.
const MAX_ID: i64 = i32::MAX as i64;
/// LIMIT: Go reads lines of the password file up to this length and fails beyond.
const MAX_PASSWD_LINE: usize = 64 * 1024;

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    name: String,
    uid: i64,
    gid: i64,
}

/// One line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    name: String,
    gid: i64,
    members: Vec<String>,
}

/// The users of an image. By default, those of an image without either file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// The layers were not asked.
    #[serde(default)]
    unread: bool,
    #[serde(default)]
    passwd: Option<Vec<User>>,
    #[serde(default)]
    group: Option<Vec<Group>>,
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUser {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups with `gid` among them, in order.
    pub groups: Vec<u32>,
}

/// Why it cannot be told who a process runs as.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The image has no such name.
    #[error("the image has no user `{name}` in its `/etc/passwd`")]
    NoUser {
        /// The name.
        name: String,
    },
    /// A number that no process can have.
    #[error("the number {number} is not a user or group that containerd accepts, up to {MAX_ID}")]
    Range {
        /// The number, as text: it may be of any length.
        number: String,
    },
    /// The layers were not read.
    #[error("the image's `/etc/passwd` and `/etc/group` were not read")]
    Unread,
}

impl Users {
    /// The users of an image whose layers were not asked.
    pub(crate) fn unread() -> Self {
        Self { unread: true, ..Self::default() }
    }

    /// From the files; `None` is a file that the image does not have.
    pub fn from_files(passwd: Option<&str>, group: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            unread: false,
            passwd: passwd.map(parse_passwd).transpose()?,
            group: group.map(|group| group.lines().filter_map(parse_group).collect()),
        })
    }

    /// Who a process runs as. `user` is what the kubelet says: a number or a name. `group` is the pod's
    /// `runAsGroup`. Under `merge`, Kubernetes' default, the image's supplementary groups come to `supplemental`.
    pub fn process_user(
        &self,
        user: &str,
        group: Option<u32>,
        supplemental: &[u32],
        merge: bool,
    ) -> Result<ProcessUser, UserError> {
        let number = go_number(user);
        let (uid, gid) = match (number, group) {
            (Number::Beyond, _) => return Err(UserError::Range { number: quote(user) }),
            (Number::Is(uid), Some(gid)) => (id(uid)?, gid),
            (Number::Is(uid), None) => {
                let uid = id(uid)?;
                match self.passwd()?.and_then(|users| users.iter().find(|user| user.uid == i64::from(uid))) {
                    Some(user) => (uid, id(user.gid)?),
                    None => (uid, 0),
                }
            }
            (Number::No, group) => {
                let found = self.passwd()?.and_then(|users| users.iter().find(|known| known.name == user));
                let found = found.ok_or_else(|| UserError::NoUser { name: quote(user) })?;
                (id(found.uid)?, group.map_or_else(|| id(found.gid), Ok)?)
            }
        };
        let mut groups: Vec<u32> = supplemental.to_vec();
        groups.push(gid);
        if merge {
            groups.extend(self.groups_of(user, uid, matches!(number, Number::Is(_)))?);
        }
        // containerd merges the lists through a set and sorts it.
        groups.sort_unstable();
        groups.dedup();
        Ok(ProcessUser { uid, gid, groups })
    }

    /// The groups that list a user. A group of the user's own name does not count.
    fn groups_of(&self, user: &str, uid: u32, by_number: bool) -> Result<Vec<u32>, UserError> {
        let name = if by_number {
            match self.passwd()?.and_then(|users| users.iter().find(|user| user.uid == i64::from(uid))) {
                Some(user) => user.name.as_str(),
                None => return Ok(Vec::new()),
            }
        } else {
            user
        };
        let groups = self.group.iter().flatten();
        let lists = |group: &&Group| group.name != name && group.members.iter().any(|member| member == name);
        groups.filter(lists).map(|group| id(group.gid)).collect()
    }

    fn passwd(&self) -> Result<Option<&Vec<User>>, UserError> {
        if self.unread { Err(UserError::Unread) } else { Ok(self.passwd.as_ref()) }
    }
}

fn id(number: i64) -> Result<u32, UserError> {
    let id = u32::try_from(number).ok().filter(|_| number <= MAX_ID);
    id.ok_or_else(|| UserError::Range { number: number.to_string() })
}

#[derive(Clone, Copy)]
enum Number {
    Is(i64),
    Beyond,
    No,
}

/// Go's `Atoi`: a sign and decimal digits.
fn go_number(text: &str) -> Number {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::No;
    }
    text.parse().map_or(Number::Beyond, Number::Is)
}

/// A number field of either file; what is none counts as 0.
fn number_field(text: Option<&str>) -> i64 {
    match go_number(text.unwrap_or_default()) {
        Number::Is(number) => number,
        // Go gives the nearest number there is, and no process can have it.
        Number::Beyond => i64::MAX,
        Number::No => 0,
    }
}

fn parse_passwd(text: &str) -> Result<Vec<User>, String> {
    let mut users = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if line.len() >= MAX_PASSWD_LINE {
            return Err(format!("line {} is longer than 64 KiB, and containerd fails on it", index.saturating_add(1)));
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // No comments here: containerd takes `# users` for a user of number 0.
        let mut fields = line.split(':');
        let name = fields.next().unwrap_or_default().to_owned();
        let (uid, gid) = (fields.nth(1), fields.next());
        users.push(User { name, uid: number_field(uid), gid: number_field(gid) });
    }
    Ok(users)
}

fn parse_group(line: &str) -> Option<Group> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.split(':');
    let name = fields.next().unwrap_or_default().to_owned();
    let gid = number_field(fields.nth(1));
    let members = fields.next().filter(|list| !list.is_empty());
    let members = members.map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default();
    Some(Group { name, gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        \n\
        \t app:x:1000:1001:An app:/home/app:/bin/sh \r\n\
        again:x:1000:7::/:\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
        strange\n\
        sign:x:+5:+6\n\
        minus:x:-1:3\n\
        far:x:77:99999999999999999999\n";
    const GROUP: &str = "root:x:0:\n# app:x:9:app\nadm:x:4:daemon,app\napp:x:1001:app\nvideo:x:44:app\n\
        again:x:8:again\nbroken:x:x:broken,app\nold:x:50:strange\nhuge:x:4294967296:nobody\n";

    fn users() -> Users {
        Users::from_files(Some(PASSWD), Some(GROUP)).unwrap()
    }

    fn ids(user: &str, group: Option<u32>) -> Result<(u32, u32, Vec<u32>), UserError> {
        let found = users().process_user(user, group, &[3000, 44], true)?;
        Ok((found.uid, found.gid, found.groups))
    }

    #[test]
    fn users_are_found_as_containerd_finds_them() {
        for (user, group, expected) in [
            ("app", None, (1000, 1001, vec![0, 4, 44, 1001, 3000])),
            // By number, the first name of that number counts for the groups, too.
            ("1000", None, (1000, 1001, vec![0, 4, 44, 1001, 3000])),
            ("1000", Some(5), (1000, 5, vec![0, 4, 5, 44, 3000])),
            ("app", Some(5), (1000, 5, vec![0, 4, 5, 44, 3000])),
            // A group of the user's own name is skipped even where it lists the user.
            ("again", None, (1000, 7, vec![7, 44, 3000])),
            ("0", None, (0, 0, vec![0, 44, 3000])),
            ("007", None, (7, 0, vec![0, 44, 3000])),
            ("+1", None, (1, 1, vec![1, 4, 44, 3000])),
            ("4711", None, (4711, 0, vec![0, 44, 3000])),
            ("strange", None, (0, 0, vec![0, 44, 50, 3000])),
            ("sign", None, (5, 6, vec![6, 44, 3000])),
            ("5", None, (5, 6, vec![6, 44, 3000])),
        ] {
            assert_eq!(ids(user, group), Ok(expected), "{user} {group:?}");
        }
        let strict = users().process_user("app", None, &[9], false).unwrap();
        assert_eq!(strict.groups, [9, 1001]);
    }

    #[test]
    fn what_containerd_refuses_is_refused() {
        for (user, group) in [("nothing", None), ("App", None), ("", None), ("nothing", Some(1)), ("1000 ", None)] {
            assert!(matches!(ids(user, group), Err(UserError::NoUser { .. })), "{user}");
        }
        for user in ["-1", "2147483648", "99999999999999999999", "minus", "far", "nobody", "65534"] {
            assert!(matches!(ids(user, None), Err(UserError::Range { .. })), "{user}: {:?}", ids(user, None));
        }
        let long = format!("a:{}:1:1", "x".repeat(MAX_PASSWD_LINE));
        assert!(Users::from_files(Some(&long), None).is_err());
    }

    #[test]
    fn an_image_without_the_files_still_has_numbers() {
        let none = Users::from_files(None, None).unwrap();
        assert_eq!(none.process_user("1000", None, &[], true).unwrap().groups, [0]);
        assert!(matches!(none.process_user("app", None, &[], true), Err(UserError::NoUser { .. })));
        assert_eq!(none, Users::default());
        // Groups are asked for by name only where there is a name.
        let groups = Users::from_files(None, Some("video:x:44:1000\n")).unwrap();
        assert_eq!(groups.process_user("1000", None, &[], true).unwrap().groups, [0]);
        let users = Users::from_files(Some("app:x:1000:1000"), None).unwrap();
        assert_eq!(users.process_user("1000", None, &[], true).unwrap().groups, [1000]);
        // The comment is a user of number 0 in one file and nothing in the other.
        let users = Users::from_files(Some("# all users\nroot:x:0:5\n"), Some("# x:x:1:root\n")).unwrap();
        assert_eq!(users.process_user("0", None, &[], true).unwrap().gid, 0);
    }

    #[test]
    fn layers_that_were_not_read_are_not_taken_for_empty_ones() {
        let unread = Users::unread();
        assert_eq!(unread.process_user("1000", None, &[], true), Err(UserError::Unread));
        assert_eq!(unread.process_user("1000", Some(1), &[], true), Err(UserError::Unread));
        assert_eq!(unread.process_user("app", Some(1), &[], false), Err(UserError::Unread));
        // Complete in itself: nothing in the image could change it.
        let complete = unread.process_user("1000", Some(7), &[3], false).unwrap();
        assert_eq!((complete.gid, complete.groups), (7, vec![3, 7]));
    }
}
