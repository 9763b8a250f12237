//! The report for people.

mod grid;
pub mod human;
pub mod lab;
mod notes;
mod paint;
pub mod table;
pub mod verify;
pub mod view;
