//! The report for people.

pub mod human;
pub mod table;
pub mod view;
