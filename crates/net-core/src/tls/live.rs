//! Settings that are exchanged while connections read them.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use crate::Result;

/// What is in force, and how it is made anew.
pub(super) struct Live<C> {
    current: ArcSwap<C>,
    load: Box<dyn Fn() -> Result<C> + Send + Sync>,
    files: Vec<PathBuf>,
    /// What the files held when they were last loaded; locked while they are.
    loaded: Mutex<u64>,
    key: RandomState,
}

impl<C> Live<C> {
    /// Loads for the first time; `files` are those that `load` reads.
    pub(super) fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<C> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Before loading: what changes meanwhile is seen as a change.
        let key = RandomState::new();
        let loaded = Mutex::new(fingerprint(&key, &files));
        let current = ArcSwap::from_pointee(load()?);
        Ok(Self { current, load: Box::new(load), files, loaded, key })
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
        *loaded = fingerprint(&self.key, &self.files);
        self.current.store(Arc::new((self.load)()?));
        Ok(())
    }

    /// Loads anew if the files have changed since they were loaded; `None` where they have not.
    pub(super) fn reload_if_changed(&self) -> Option<Result<()>> {
        let loaded = *self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        (fingerprint(&self.key, &self.files) != loaded).then(|| self.reload())
    }
}

/// Returns a value that changes with the content of `files`.
fn fingerprint(key: &RandomState, files: &[PathBuf]) -> u64 {
    let contents: Vec<_> =
        files.iter().map(|file| fs::read(file).ok().map(|content| key.hash_one(content))).collect();
    key.hash_one(contents)
}
