//! The report for people.

mod grid;
pub mod human;
mod notes;
mod paint;
pub mod table;
pub mod view;
