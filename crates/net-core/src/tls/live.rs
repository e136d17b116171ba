//! Settings that are exchanged while connections read them.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::crypto::hash::Hash;

use crate::{Error, Result};

/// What is in force, and how it is made anew.
pub(super) struct Live<C> {
    current: ArcSwap<C>,
    load: Box<dyn Fn() -> Result<C> + Send + Sync>,
    files: Vec<PathBuf>,
    sha256: &'static dyn Hash,
    /// Locked while it is loaded.
    last: Mutex<Attempt>,
}

/// What came of loading last.
struct Attempt {
    /// What the files held then.
    held: Fingerprint,
    /// Why it failed.
    failure: Option<String>,
}

impl<C> Live<C> {
    /// Loads for the first time; `files` are those that `load` reads.
    pub(super) fn new(
        files: Vec<PathBuf>,
        sha256: &'static dyn Hash,
        load: impl Fn() -> Result<C> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Before loading: what changes meanwhile is seen as a change.
        let last = Mutex::new(Attempt { held: fingerprint(sha256, &files), failure: None });
        let current = ArcSwap::from_pointee(load()?);
        Ok(Self { current, load: Box::new(load), files, sha256, last })
    }

    pub(super) fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Loads anew; what is in force stays where that fails.
    pub(super) fn reload(&self) -> Result<()> {
        let held = fingerprint(self.sha256, &self.files);
        self.load_anew(&mut self.last(), held)
    }

    /// Loads anew if the files have changed since, or that failed: a certificate may have become valid meanwhile. `None` where
    /// there is nothing to tell: nothing has changed, or it fails as it did.
    pub(super) fn reload_if_changed(&self) -> Option<Result<()>> {
        let mut last = self.last();
        let held = fingerprint(self.sha256, &self.files);
        let changed = held != last.held;
        if !changed && last.failure.is_none() {
            return None;
        }
        let before = last.failure.take();
        let outcome = self.load_anew(&mut last, held);
        (changed || last.failure != before).then_some(outcome)
    }

    fn load_anew(&self, last: &mut Attempt, held: Fingerprint) -> Result<()> {
        last.held = held;
        let loaded = (self.load)();
        last.failure = loaded.as_ref().err().map(Error::report);
        loaded.map(|loaded| self.current.store(Arc::new(loaded)))
    }

    fn last(&self) -> MutexGuard<'_, Attempt> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest of what each file held; `None` for one that could not be read.
type Fingerprint = Vec<Option<Vec<u8>>>;

fn fingerprint(sha256: &dyn Hash, files: &[PathBuf]) -> Fingerprint {
    let digest = |file: &PathBuf| fs::read(file).ok().map(|content| sha256.hash(&content).as_ref().to_vec());
    files.iter().map(digest).collect()
}
