//! The programs of the guides, which the tests compile and run; the examples are files of their own beside this one.

#[doc = include_str!("../../docs/guides/authentication.md")]
mod authentication {}

#[doc = include_str!("../../docs/guides/messaging.md")]
mod messaging {}

#[doc = include_str!("../../docs/guides/production.md")]
mod production {}

#[cfg(target_os = "linux")]
#[doc = include_str!("../../docs/guides/observation.md")]
mod observation {}

#[doc = include_str!("../../docs/guides/zero-copy.md")]
mod zero_copy {}
