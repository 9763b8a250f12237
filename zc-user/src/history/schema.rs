//! The tables: their columns, in the order in which rows are written and read. `docs/history.md` says what each means.

use std::fmt::Write as _;

/// In the metadata of every file. It changes when a column changes its meaning or goes away, not when one is added.
pub(super) const SCHEMA: &str = "zc.history/1";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// UTF-8.
    Text,
    /// A signed number of 64 bits.
    Integer,
    /// Microseconds since 1970, UTC.
    Time,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) of: Type,
    /// It is there in every row.
    pub(super) is_required: bool,
}

pub(super) const fn text(name: &'static str) -> Column {
    Column { name, of: Type::Text, is_required: true }
}

pub(super) const fn integer(name: &'static str) -> Column {
    Column { name, of: Type::Integer, is_required: true }
}

const fn time(name: &'static str) -> Column {
    Column { name, of: Type::Time, is_required: true }
}

const fn maybe(column: Column) -> Column {
    Column { is_required: false, ..column }
}

/// A table: the first part of its files' names, and its columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
}

/// In every table.
const COMMON: &[Column] = &[
    text("hostname"),
    text("kernel"),
    text("arch"),
    integer("cpus"),
    maybe(text("boot_id")),
    time("interval_start"),
    time("interval_end"),
];

/// One row for each interval, also for those in which nothing happened.
pub(super) const INTERVALS: Table =
    Table { name: "intervals", columns: &[integer("processes"), integer("path_rows")] };

/// One row for each interval and counter of losses that grew in it.
pub(super) const LOSSES: Table = Table { name: "losses", columns: &[text("counter"), integer("count")] };

/// One row for each interval and process of which something changed.
pub(super) const PROCESSES: Table = Table {
    name: "processes",
    columns: &[
        integer("pid"),
        maybe(integer("ppid")),
        integer("start_ns"),
        maybe(text("comm")),
        maybe(text("exe")),
        maybe(text("cmdline")),
        maybe(text("cgroup")),
        maybe(text("container")),
        maybe(integer("exit_code")),
        maybe(integer("syscalls")),
        maybe(integer("exception_mode_switches")),
        maybe(integer("voluntary_context_switches")),
        maybe(integer("involuntary_context_switches")),
        maybe(integer("minor_page_faults")),
        maybe(integer("major_page_faults")),
        maybe(integer("device_read_bytes")),
    ],
};

/// One row for each interval, process and path row of which something changed.
pub(super) const PATHS: Table = Table {
    name: "paths",
    columns: &[
        integer("pid"),
        integer("start_ns"),
        maybe(text("comm")),
        maybe(text("exe")),
        maybe(text("cgroup")),
        maybe(text("container")),
        text("path"),
        text("via"),
        text("source"),
        text("destination"),
        integer("transfers"),
        integer("syscalls"),
        integer("bytes"),
        maybe(integer("cpu_copied_bytes")),
        maybe(integer("by_reference_bytes")),
        integer("unknown_bytes"),
        maybe(integer("device_read_bytes")),
        integer("mode_switches"),
        maybe(integer("voluntary_context_switches")),
        maybe(integer("involuntary_context_switches")),
        maybe(integer("minor_page_faults")),
        maybe(integer("major_page_faults")),
        text("evidence"),
        maybe(text("reason")),
        integer("rchar_bytes"),
        integer("wchar_bytes"),
    ],
};

/// In the order in which files get their names: the last one says that all are there.
pub(super) const TABLES: [Table; 4] = [LOSSES, PROCESSES, PATHS, INTERVALS];

impl Table {
    pub(super) fn columns(self) -> impl Iterator<Item = Column> {
        COMMON.iter().chain(self.columns).copied()
    }

    /// In the language of Parquet's own schemas.
    pub(super) fn message(self) -> String {
        let mut message = format!("message {} {{", self.name);
        for Column { name, of, is_required } in self.columns() {
            let repetition = if is_required { "REQUIRED" } else { "OPTIONAL" };
            let (physical, logical) = match of {
                Type::Text => ("BYTE_ARRAY", " (STRING)"),
                Type::Integer => ("INT64", ""),
                Type::Time => ("INT64", " (TIMESTAMP(MICROS,true))"),
            };
            // Writing to a string does not fail.
            let _ = write!(message, " {repetition} {physical} {name}{logical};");
        }
        message.push_str(" }");
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_documented() {
        let document = include_str!("../../../docs/history.md");
        for table in TABLES {
            let (_, section) =
                document.split_once(&format!("### `{}`", table.name)).expect("a section for each table");
            let section = section.split("\n### ").next().expect("a section");
            for column in table.columns {
                assert!(
                    section.contains(&format!("| `{}` |", column.name)),
                    "{}.{}",
                    table.name,
                    column.name
                );
            }
        }
        for column in COMMON {
            assert!(document.contains(&format!("| `{}` |", column.name)), "{}", column.name);
        }
    }
}
