//! One idea a file.
