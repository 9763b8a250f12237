//! The table.

use crate::{export::Options, model::Report};

/// The table.
pub fn render(report: &Report, options: &Options) -> String {
    let _ = (report, options);
    String::new()
}
