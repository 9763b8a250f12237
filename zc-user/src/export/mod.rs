//! The report as files and text. Every format is a view of the same [`Report`].

use std::io::{self, Write};

use crate::{
    model::Report,
    render::{self, view::Sort},
};

pub mod csv;
pub mod json;
pub mod verify;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Table,
    /// One JSON object.
    Json,
    /// A line for each path of each process.
    Csv,
}

/// What a reader wants to see of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Order of processes.
    pub sort: Sort,
    /// Cut lists after this many; the table cuts them anyway, JSON only when asked, CSV never.
    pub limit: Option<usize>,
    /// Table: exact numbers, command lines, hooks.
    pub verbose: bool,
    /// Table: with colours.
    pub color: bool,
    /// Table: no character outside of ASCII but in names.
    pub ascii: bool,
}

/// Writes the report, all of it at once.
pub fn write(report: &Report, format: Format, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let bytes = match format {
        Format::Table => render::table::render(report, options).into_bytes(),
        Format::Json => json::to_vec(report, options)?,
        Format::Csv => csv::to_vec(report, options)?,
    };
    out.write_all(&bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests;
