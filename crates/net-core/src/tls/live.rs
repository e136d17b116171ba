//! Settings that are exchanged while connections read them.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::crypto::hash::Hash;

use crate::Result;

/// What is in force, and how it is made anew.
pub(super) struct Live<C> {
    current: ArcSwap<C>,
    load: Box<dyn Fn() -> Result<C> + Send + Sync>,
    files: Vec<PathBuf>,
    sha256: &'static dyn Hash,
    /// What the files held when they were last loaded; locked while they are.
    loaded: Mutex<Fingerprint>,
}

impl<C> Live<C> {
    /// Loads for the first time; `files` are those that `load` reads.
    pub(super) fn new(
        files: Vec<PathBuf>,
        sha256: &'static dyn Hash,
        load: impl Fn() -> Result<C> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Before loading: what changes meanwhile is seen as a change.
        let loaded = Mutex::new(fingerprint(sha256, &files));
        let current = ArcSwap::from_pointee(load()?);
        Ok(Self { current, load: Box::new(load), files, sha256, loaded })
    }

    pub(super) fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Loads anew; what is in force stays where that fails.
    pub(super) fn reload(&self) -> Result<()> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = fingerprint(self.sha256, &self.files);
        self.current.store(Arc::new((self.load)()?));
        Ok(())
    }

    /// Loads anew if the files have changed since they were loaded; `None` where they have not.
    pub(super) fn reload_if_changed(&self) -> Option<Result<()>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (fingerprint(self.sha256, &self.files) != loaded).then(|| self.reload())
    }
}

/// A digest of what each file held; `None` for one that could not be read.
type Fingerprint = Vec<Option<Vec<u8>>>;

fn fingerprint(sha256: &dyn Hash, files: &[PathBuf]) -> Fingerprint {
    let digest = |file: &PathBuf| fs::read(file).ok().map(|content| sha256.hash(&content).as_ref().to_vec());
    files.iter().map(digest).collect()
}
