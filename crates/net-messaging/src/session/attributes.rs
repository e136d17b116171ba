//! Values that a program attaches to a session, under names.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use net_core::{Error, ErrorKind, Result};

type Value = Arc<dyn Any + Send + Sync>;
type Values = HashMap<Box<str>, Value>;

/// Values under names.
#[derive(Debug, Default)]
pub(super) struct Attributes(Mutex<Values>);

impl Attributes {
    pub(super) fn set<T: Any + Send + Sync>(&self, name: &str, value: T) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = values.insert(name.into(), Arc::new(value));
        // What a value does when it is dropped may need the session.
        drop(values);
        drop(before);
    }

    pub(super) fn get<T: Any + Send + Sync>(&self, name: &str) -> Result<Option<Arc<T>>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = values.get(name).cloned() else {
            return Ok(None);
        };
        drop(values);
        let wrong = |_| {
            let expected = format!("attribute {name:?} is no {}", std::any::type_name::<T>());
            Error::new(ErrorKind::InvalidConfig, "get attribute").because(expected)
        };
        value.downcast().map(Some).map_err(wrong)
    }

    pub(super) fn remove(&self, name: &str) -> bool {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = values.remove(name);
        drop(values);
        removed.is_some()
    }
}
