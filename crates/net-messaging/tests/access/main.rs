//! Who may come in, and how often they may ask.

mod claims;
#[path = "../engine/rig.rs"]
mod rig;

mod authentication;
mod bounds;
mod rates;
mod refusals;
mod secrets;
