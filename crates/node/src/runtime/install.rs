//! Installing, upgrading and removing, so that a kill between any two steps leaves something that the next call finishes
//! or undoes.
//!
//! The order of an installation, and what a kill leaves:
//!
//! 1. Everything that can be refused is refused: the bundle, the configuration, classes in use. Nothing has changed.
//! 2. The journal says what is to be installed.
//! 3. The files are copied beside, checked, and renamed to the name of the release. Until here the next call *undoes*.
//! 4. `current` points to the release, containerd's files are changed, containerd is restarted if they were. From here on
//!    the next call *finishes*, since the journal has all that this takes. A restart that is left to somebody else stays
//!    due in the journal until containerd runs in another run than the one that the files were changed in.
//! 5. The journal says that it is done, and releases that nobody uses go.
//!
//! A removal is written to the journal once nothing can refuse it, and from then on is finished.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::bundle::{Bundle, Digest, Release};
use super::class::{Handler, Runtime};
use super::containerd::{self, Distribution, Edit};
use super::files::{FileError, Root, io, remove_file, sync_folder};
use super::host::{self, Sandbox, Service, Users};
use super::journal::{HOME, Installed, Journal, Pending};
use super::lock::Lock;
use super::service::Run;
use super::stage::{self, Look};

mod error;
mod status;

pub use error::InstallError;
pub use status::{Mark, Status};

/// Behind the name of a file that was an administrator's alone before we changed it.
const BACKUP: &str = ".before-casemate";
/// Where files are copied to before they have a release's name.
const STAGING: &str = ".staging";

/// What a call did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Done {
    /// In order, for a person; empty when all was as it should be.
    pub steps: Vec<String>,
    /// Whether containerd was restarted.
    pub restarted: bool,
}

/// Installs and removes on one host.
pub struct Installer<'a> {
    root: Root,
    distribution: Distribution,
    users: &'a dyn Users,
    service: &'a mut dyn Service,
    /// The classes that are wanted of a bundle; `None` for all.
    only: Option<BTreeSet<Handler>>,
    /// Called before every effect; an error ends the work there, as a kill would.
    checkpoint: &'a dyn Fn(&'static str) -> io::Result<()>,
    done: Done,
}

#[expect(clippy::unnecessary_wraps, reason = "it has the type of a checkpoint that may fail")]
fn pass(_: &'static str) -> io::Result<()> {
    Ok(())
}

impl<'a> Installer<'a> {
    /// For a host, with those who know about running pods and about containerd's service.
    pub fn new(root: Root, distribution: Distribution, users: &'a dyn Users, service: &'a mut dyn Service) -> Self {
        Self { root, distribution, users, service, only: None, checkpoint: &pass, done: Done::default() }
    }

    /// Of a bundle's classes, containerd is told of these alone. The others' files are there, as a release is a whole.
    #[must_use]
    pub fn only(mut self, classes: impl IntoIterator<Item = Handler>) -> Self {
        self.only = Some(classes.into_iter().collect());
        self
    }

    /// Ends the work at a step of the caller's choice, as a kill would. For tests of what is left then.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: &'a dyn Fn(&'static str) -> io::Result<()>) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    fn step(&self, name: &'static str) -> Result<(), FileError> {
        (self.checkpoint)(name).map_err(io(name, self.root.folder()))
    }

    fn home(&self) -> Result<PathBuf, FileError> {
        self.root.path(HOME)
    }

    fn lock(&self) -> Result<Lock, FileError> {
        Lock::take(&self.home()?)
    }

    /// What an installation of this bundle would change in containerd's configuration.
    pub fn plan(&self, bundle: &Bundle) -> Result<Vec<Edit>, InstallError> {
        self.edits(&self.runtimes(bundle)?)
    }

    /// The classes of a bundle that are wanted.
    fn runtimes(&self, bundle: &Bundle) -> Result<Vec<Runtime>, InstallError> {
        let mut runtimes = stage::runtimes(bundle)?;
        if let Some(only) = &self.only {
            let has: Vec<Handler> = runtimes.iter().map(|runtime| runtime.handler.clone()).collect();
            if let Some(class) = only.iter().find(|class| !has.contains(class)).cloned() {
                return Err(InstallError::NoClass { release: bundle.release.clone(), class, has });
            }
            runtimes.retain(|runtime| only.contains(&runtime.handler));
        }
        Ok(runtimes)
    }

    fn edits(&self, runtimes: &[Runtime]) -> Result<Vec<Edit>, InstallError> {
        let files = host::configuration(&self.root, self.distribution)?;
        Ok(containerd::plan(self.distribution, &files, runtimes)?)
    }

    /// Makes a bundle the installed one. `path` is its TOML, which must have the digest that is pinned, if one is.
    pub fn install(mut self, path: &Path, pin: Option<Digest>) -> Result<Done, InstallError> {
        let text = fs::read_to_string(path).map_err(io("read", path))?;
        let found = Digest(Sha256::digest(text.as_bytes()).into());
        if let Some(expected) = pin.filter(|pin| *pin != found) {
            return Err(InstallError::NotPinned { path: path.to_owned(), expected, found });
        }
        let bundle = Bundle::parse(&text).map_err(|source| InstallError::Bundle { path: path.to_owned(), source })?;
        let _lock = self.lock()?;
        let mut journal = self.recover()?;
        let mut wanted = Installed {
            release: bundle.release.clone(),
            bundle: found,
            runtimes: self.runtimes(&bundle)?,
            files: Vec::new(),
        };
        let edits = self.edits(&wanted.runtimes)?;
        let dropped = |old: &Runtime| !wanted.runtimes.iter().any(|new| new.handler == old.handler);
        let sandboxes = self.users.sandboxes()?;
        let old = journal.installed.clone();
        for runtime in old.iter().flat_map(|old| &old.runtimes).filter(|runtime| dropped(runtime)) {
            refuse_in_use(&runtime.handler, &sandboxes)?;
        }
        let folder = self.home()?.join(wanted.release.as_str());
        if let Some(old) = old.filter(|old| old.release == wanted.release) {
            if old.bundle != wanted.bundle {
                return Err(InstallError::SameRelease { release: old.release });
            }
            let files = stage::damaged(&old, &folder, Look::Bytes)?;
            if files.is_empty() {
                wanted.files = old.files;
            } else if let Some(who) = users_of(&wanted.release, &sandboxes) {
                return Err(InstallError::Damaged { release: old.release, files, who });
            }
        }
        let is_current =
            journal.installed.as_ref() == Some(&wanted) && self.current()?.as_ref() == Some(&wanted.release);
        if is_current && edits.is_empty() {
            self.sweep(&journal)?;
            return Ok(self.done);
        }
        self.step("begin")?;
        journal.distribution = self.distribution;
        journal.pending = Some(Pending::Install(wanted.clone()));
        journal.write(&self.root)?;
        if wanted.files.is_empty() {
            let sources = path.parent().unwrap_or(Path::new("."));
            wanted.files = match self.stage(&bundle, sources, &folder) {
                Ok(files) => files,
                Err(error) => {
                    // This error is the one to tell; should taking back fail as well, the next call does it.
                    let _ = self.undo(&mut journal);
                    return Err(error);
                }
            };
            // With the digests of what was relocated, and the folder in place: from here on it is finished.
            self.step("commit")?;
            journal.pending = Some(Pending::Install(wanted));
            journal.write(&self.root)?;
        }
        self.finish(&mut journal)?;
        Ok(self.done)
    }

    /// Removes everything.
    pub fn remove(mut self) -> Result<Done, InstallError> {
        let _lock = self.lock()?;
        let mut journal = self.recover()?;
        let sandboxes = self.users.sandboxes()?;
        if let Some(sandbox) = sandboxes.first() {
            refuse_in_use(&sandbox.handler, &sandboxes)?;
        }
        let edits = self.edits(&[])?;
        if journal.installed.is_none() && edits.is_empty() && self.releases()?.is_empty() {
            return Ok(self.done);
        }
        self.step("begin")?;
        journal.pending = Some(Pending::Remove);
        journal.write(&self.root)?;
        self.finish(&mut journal)?;
        Ok(self.done)
    }

    /// Finishes or undoes what a killed call left.
    pub fn resume(mut self) -> Result<Done, InstallError> {
        let _lock = self.lock()?;
        self.recover()?;
        Ok(self.done)
    }

    fn recover(&mut self) -> Result<Journal, InstallError> {
        let mut journal = Journal::read(&self.root)?.unwrap_or_else(|| Journal::new(self.distribution));
        // What was begun is ended where it was begun, whatever this host looks like today.
        let distribution = std::mem::replace(&mut self.distribution, journal.distribution);
        match journal.pending.clone() {
            Some(Pending::Install(wanted)) => {
                let folder = self.home()?.join(wanted.release.as_str());
                if !wanted.files.is_empty() && stage::damaged(&wanted, &folder, Look::Bytes)?.is_empty() {
                    self.done.steps.push(format!("finish the installation of {}", wanted.release));
                    self.finish(&mut journal)?;
                } else {
                    self.done.steps.push(format!("undo the installation of {}", wanted.release));
                    self.undo(&mut journal)?;
                }
            }
            Some(Pending::Remove) => {
                self.done.steps.push("finish the removal".to_owned());
                self.finish(&mut journal)?;
            }
            None if journal.restart_due => {
                self.settle(&mut journal)?;
                if journal.installed.is_none() {
                    self.forget(&journal)?;
                }
            }
            None => {}
        }
        self.distribution = distribution;
        Ok(journal)
    }

    /// Takes back an installation whose files are not all in place: nothing else was changed yet.
    fn undo(&mut self, journal: &mut Journal) -> Result<(), InstallError> {
        self.step("undo")?;
        journal.pending = None;
        // Before the journal forgets, so that a kill in between begins this again.
        self.sweep(journal)?;
        self.step("note that it is undone")?;
        match journal.installed {
            Some(_) => journal.write(&self.root)?,
            None => self.forget(journal)?,
        }
        Ok(())
    }

    /// Without a runtime there is nothing to remember, but for a restart that somebody else is to do.
    fn forget(&self, journal: &Journal) -> Result<(), InstallError> {
        self.step("forget")?;
        if journal.restart_due { Ok(journal.write(&self.root)?) } else { Ok(Journal::remove(&self.root)?) }
    }

    /// Copies and checks a release, and gives it its name.
    fn stage(
        &mut self,
        bundle: &Bundle,
        sources: &Path,
        folder: &Path,
    ) -> Result<Vec<super::journal::InstalledFile>, InstallError> {
        let home = self.home()?;
        let staging = home.join(STAGING);
        remove_tree(&staging)?;
        self.step("stage")?;
        fs::create_dir_all(&staging).map_err(io("make folder", &staging))?;
        let files = stage::stage(bundle, sources, &staging, self.checkpoint)?;
        self.step("put in place")?;
        // A damaged one that nobody uses may be there.
        remove_tree(folder)?;
        fs::rename(&staging, folder).map_err(io("put in place", folder))?;
        sync_folder(&home)?;
        self.done.steps.push(format!("copy {} files of release {}", files.len(), bundle.release));
        Ok(files)
    }

    /// Does what the journal says is pending, all of which can be done twice.
    fn finish(&mut self, journal: &mut Journal) -> Result<(), InstallError> {
        let wanted = match journal.pending.clone() {
            Some(Pending::Install(wanted)) => Some(wanted),
            _ => None,
        };
        if let Some(wanted) = &wanted {
            self.point_to(&wanted.release)?;
        }
        let runtimes = wanted.as_ref().map(|wanted| wanted.runtimes.clone()).unwrap_or_default();
        let edits = self.edits(&runtimes)?;
        if !edits.is_empty() {
            if !journal.restart_due || journal.changed_in.is_some() {
                self.step("announce the restart")?;
                journal.restart_due = true;
                journal.changed_in = None;
                journal.write(&self.root)?;
            }
            for edit in &edits {
                self.apply(edit)?;
            }
        }
        self.drop_backups()?;
        if journal.restart_due && journal.changed_in.is_none() {
            // Behind the last edit: a run that began between two of them has read half of it.
            self.step("note the run")?;
            journal.changed_in = Some(self.service.run(self.distribution));
            journal.write(&self.root)?;
        }
        self.settle(journal)?;
        self.step("end")?;
        journal.installed = wanted;
        journal.pending = None;
        if journal.installed.is_some() {
            journal.write(&self.root)?;
        }
        self.sweep(journal)?;
        if journal.installed.is_none() {
            self.forget(journal)?;
            self.done.steps.push("everything is removed".to_owned());
        }
        Ok(())
    }

    /// Whether containerd has yet to read what was changed: the run that did not is still the one that runs.
    fn is_restart_due(&self, journal: &Journal) -> bool {
        let restarted = |before: &Run| self.service.run(journal.distribution).is_other_than(before);
        journal.restart_due && !journal.changed_in.as_ref().is_some_and(restarted)
    }

    /// Sees to a restart that is due. One that is left to somebody else stays due until it happened.
    fn settle(&mut self, journal: &mut Journal) -> Result<(), InstallError> {
        if !journal.restart_due {
            return Ok(());
        }
        if self.is_restart_due(journal) {
            self.step("restart")?;
            self.done.restarted = self.service.restart(self.distribution)?;
            if !self.done.restarted {
                self.done.steps.push(format!("restart of {} is left to somebody else", self.distribution));
                return Ok(());
            }
            self.done.steps.push(format!("restart of {}", self.distribution));
        }
        self.step("note the restart")?;
        journal.restart_due = false;
        journal.changed_in = None;
        Ok(journal.write(&self.root)?)
    }

    fn apply(&mut self, edit: &Edit) -> Result<(), InstallError> {
        let backup = format!("{}{BACKUP}", edit.path);
        if let (true, Some(before)) = (edit.untouched, &edit.before)
            && self.root.text(&backup)?.is_none()
        {
            self.step("back up")?;
            self.root.replace(&backup, before)?;
        }
        self.step("edit")?;
        match &edit.after {
            Some(after) => self.root.replace(&edit.path, after)?,
            None => self.root.remove(&edit.path)?,
        }
        self.done.steps.push(edit.to_string());
        Ok(())
    }

    /// A copy of what is there again is not worth keeping; one of something else is the administrator's to judge.
    fn drop_backups(&mut self) -> Result<(), InstallError> {
        for (path, text) in host::configuration(&self.root, self.distribution)? {
            let backup = format!("{path}{BACKUP}");
            if self.root.text(&backup)?.is_some_and(|old| old == text) {
                self.step("drop the backup")?;
                self.root.remove(&backup)?;
            }
        }
        Ok(())
    }

    /// The release that `current` points to.
    fn current(&self) -> Result<Option<Release>, FileError> {
        let link = self.home()?.join("current");
        match fs::read_link(&link) {
            Ok(target) => Ok(target.to_str().and_then(|name| Release::try_from(name.to_owned()).ok())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            Err(error) => Err(io("read link", link)(error)),
        }
    }

    fn point_to(&mut self, release: &Release) -> Result<(), InstallError> {
        if self.current()?.as_ref() == Some(release) {
            return Ok(());
        }
        let home = self.home()?;
        let (new, link) = (home.join(".current-new"), home.join("current"));
        remove_file(&new)?;
        self.step("point to the release")?;
        symlink(release.as_str(), &new).map_err(io("link", &new))?;
        fs::rename(&new, &link).map_err(io("put in place", &link))?;
        sync_folder(&home)?;
        self.done.steps.push(format!("new pods get release {release}"));
        Ok(())
    }

    /// Folders of releases.
    fn releases(&self) -> Result<Vec<String>, FileError> {
        let names = self.root.names(HOME)?;
        Ok(names.into_iter().filter(|name| Release::try_from(name.clone()).is_ok()).collect())
    }

    /// Removes releases that are neither installed nor in use, and what killed calls left.
    fn sweep(&mut self, journal: &Journal) -> Result<(), InstallError> {
        let home = self.home()?;
        let installed = journal.installed.as_ref();
        let used: BTreeSet<Option<String>> =
            self.users.sandboxes()?.into_iter().map(|sandbox| sandbox.release).collect();
        if installed.is_none() {
            self.step("remove the link")?;
            remove_file(&home.join("current"))?;
        }
        for name in self.releases()? {
            let keep = installed.is_some_and(|installed| installed.release.as_str() == name);
            // Someone of whom only the class is known may use any of them.
            if keep || used.contains(&Some(name.clone())) || used.contains(&None) {
                continue;
            }
            self.step("remove a release")?;
            remove_tree(&home.join(&name))?;
            self.done.steps.push(format!("remove the files of release {name}"));
        }
        remove_tree(&home.join(STAGING))?;
        Ok(())
    }

    /// What is on the host, every byte compared. Changes nothing.
    pub fn status(&self) -> Result<Status, InstallError> {
        self.status_by(Look::Bytes)
    }

    /// What is on the host, without a look into the files of the release: for who has looked before and knows by
    /// [`marks`](Self::marks) that they are the same.
    pub fn glance(&self) -> Result<Status, InstallError> {
        self.status_by(Look::Names)
    }

    /// What changes when somebody touches what is installed, if only to look like before: cheap enough for every minute.
    pub fn marks(&self) -> Result<Vec<Mark>, InstallError> {
        let home = self.home()?;
        let mut paths = vec![home.join("installed.json"), home.join("current")];
        if let Some(installed) = Journal::read(&self.root)?.and_then(|journal| journal.installed) {
            let folder = home.join(installed.release.as_str());
            paths.extend(installed.files.iter().map(|file| folder.join(file.path.as_str())));
        }
        Ok(paths.iter().map(|path| Mark::of(path)).collect())
    }

    fn status_by(&self, look: Look) -> Result<Status, InstallError> {
        let journal = Journal::read(&self.root)?;
        let installed = journal.as_ref().and_then(|journal| journal.installed.as_ref());
        let damaged = match installed {
            Some(installed) => {
                let mut damaged = stage::damaged(installed, &self.home()?.join(installed.release.as_str()), look)?;
                if self.current()?.as_ref() != Some(&installed.release) {
                    damaged.push("../current".to_owned());
                }
                damaged
            }
            None => Vec::new(),
        };
        let runtimes = installed.map(|installed| installed.runtimes.clone()).unwrap_or_default();
        let pending = journal.as_ref().and_then(|journal| journal.pending.as_ref()).map(|pending| match pending {
            Pending::Install(wanted) => format!("install {}", wanted.release),
            Pending::Remove => "remove".to_owned(),
        });
        let sandboxes = self.users.sandboxes()?;
        Ok(Status {
            distribution: self.distribution,
            release: installed.map(|installed| installed.release.clone()),
            classes: runtimes.iter().map(|runtime| runtime.handler.clone()).collect(),
            pending,
            restart_due: journal.as_ref().is_some_and(|journal| self.is_restart_due(journal)),
            damaged,
            configuration: self.edits(&runtimes)?.into_iter().map(|edit| edit.path).collect(),
            users: sandboxes.into_iter().map(|sandbox| (sandbox.handler, sandbox.who)).collect(),
        })
    }
}

/// The classes that are installed on a host; `None` where there is no runtime.
pub fn classes(root: &Root) -> Result<Option<Vec<Handler>>, InstallError> {
    let installed = Journal::read(root)?.and_then(|journal| journal.installed);
    Ok(installed.map(|installed| installed.runtimes.into_iter().map(|runtime| runtime.handler).collect()))
}

fn refuse_in_use(handler: &Handler, sandboxes: &[Sandbox]) -> Result<(), InstallError> {
    let users = sandboxes.iter().filter(|sandbox| sandbox.handler == *handler);
    let who: Vec<String> = users.map(|sandbox| sandbox.who.clone()).collect();
    if who.is_empty() { Ok(()) } else { Err(InstallError::InUse { handler: handler.clone(), who }) }
}

/// Who uses a release, or may: one of whom only the class is known.
fn users_of(release: &Release, sandboxes: &[Sandbox]) -> Option<Vec<String>> {
    let uses = |sandbox: &&Sandbox| sandbox.release.as_deref().is_none_or(|name| name == release.as_str());
    let who: Vec<String> = sandboxes.iter().filter(uses).map(|sandbox| sandbox.who.clone()).collect();
    (!who.is_empty()).then_some(who)
}

fn remove_tree(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", folder)(error)),
        _ => Ok(()),
    }
}
