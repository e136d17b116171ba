//! Settings that speak other protocols by ALPN than those that they were derived from.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// A list of protocols in place of the one in the settings.
pub(super) struct Alpn<C> {
    protocols: Vec<Vec<u8>>,
    made: ArcSwapOption<Made<C>>,
}

struct Made<C> {
    /// What it was made from. Held, so that nothing else can come to stand at its address.
    from: Arc<C>,
    config: Arc<C>,
}

impl<C: Clone> Alpn<C> {
    pub(super) fn new(protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self { protocols: protocols.into_iter().map(Into::into).collect(), made: ArcSwapOption::empty() }
    }

    /// Returns `current` with these protocols, which `set` puts in their place; it is made anew only after a reload.
    pub(super) fn apply(&self, current: Arc<C>, set: impl FnOnce(&mut C, Vec<Vec<u8>>)) -> Arc<C> {
        if let Some(made) = &*self.made.load()
            && Arc::ptr_eq(&made.from, &current)
        {
            return made.config.clone();
        }
        let mut config = C::clone(&current);
        set(&mut config, self.protocols.clone());
        let config = Arc::new(config);
        // Of two that are made at once, either is right; one made from what was exchanged meanwhile is made anew.
        self.made.store(Some(Arc::new(Made { from: current, config: config.clone() })));
        config
    }
}
