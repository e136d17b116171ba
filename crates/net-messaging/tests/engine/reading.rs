//! What is read while a handler runs.
