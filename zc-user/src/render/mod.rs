//! The report for people.

mod grid;
pub mod human;
pub mod lab;
pub(crate) mod notes;
pub(crate) mod paint;
pub mod table;
pub mod verify;
pub mod view;
