//! The table of what each series of kernels makes of each program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use anyhow::{Context as _, Result, ensure};

use super::series;

/// What a kernel makes of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Instructions that the verifier goes through.
    pub(super) instructions: u64,
    /// Bytes of machine code.
    pub(super) bytes: u64,
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, bytes } = self;
        write!(formatter, "{instructions} instructions verified, {bytes} bytes of machine code")
    }
}

/// Programs by name.
pub(crate) type Programs = BTreeMap<String, Size>;

/// What a kernel makes of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The kernel's.
    pub(crate) version: String,
    pub(crate) programs: Programs,
}

/// By series of kernels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record(BTreeMap<(u32, u32), Measured>);

/// A line of `zc check --verbose` about a program: its name and two numbers.
pub(crate) fn line(text: &str) -> Option<(String, Size)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, instructions, bytes] = words[..] else { return None };
    let size = Size { instructions: instructions.parse().ok()?, bytes: bytes.parse().ok()? };
    name.starts_with("zc_").then(|| (name.to_owned(), size))
}

impl Record {
    /// Reads the table in a text.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut rows = text.lines().filter(|line| is_row(line)).map(cells).skip(2);
        let Some(kernels) = rows.next() else { return Ok(Self::default()) };
        let mut columns: Vec<Measured> = kernels[1..]
            .iter()
            .map(|version| Measured { version: (*version).to_owned(), programs: Programs::new() })
            .collect();
        for row in rows {
            let name = row[0].trim_matches('`');
            ensure!(row.len() == columns.len() + 1, "{name} has {} cells", row.len());
            for (column, cell) in columns.iter_mut().zip(&row[1..]).filter(|(_, cell)| **cell != "-") {
                let size = size(cell).with_context(|| format!("`{cell}` of {name} is no pair of numbers"))?;
                column.programs.insert(name.to_owned(), size);
            }
        }
        let mut record = Self::default();
        columns.into_iter().try_for_each(|column| record.set(column))?;
        Ok(record)
    }

    /// The same text with this table in place of its own, or at its end.
    pub(super) fn written_into(&self, text: &str) -> String {
        let before: Vec<&str> = text.lines().take_while(|line| !is_row(line)).collect();
        let after: Vec<&str> = text.lines().skip(before.len()).skip_while(|line| is_row(line)).collect();
        let mut written = String::new();
        for line in before.into_iter().chain(self.table().lines()).chain(after) {
            written.push_str(line);
            written.push('\n');
        }
        written
    }

    fn table(&self) -> String {
        let mut text = String::from("| program |");
        for (major, minor) in self.0.keys() {
            let _ = write!(text, " {major}.{minor} |");
        }
        let _ = write!(text, "\n|---|{}\n| kernel |", "---:|".repeat(self.0.len()));
        for column in self.0.values() {
            let _ = write!(text, " {} |", column.version);
        }
        let names: BTreeSet<&String> = self.0.values().flat_map(|column| column.programs.keys()).collect();
        for name in names {
            let _ = write!(text, "\n| `{name}` |");
            for column in self.0.values() {
                let cell = column.programs.get(name);
                let cell = cell.map_or_else(
                    || "-".to_owned(),
                    |Size { instructions, bytes }| format!("{instructions} / {bytes}"),
                );
                let _ = write!(text, " {cell} |");
            }
        }
        text
    }

    /// Puts a kernel on record, in place of what was known of its series.
    pub(super) fn set(&mut self, measured: Measured) -> Result<()> {
        let version = &measured.version;
        let series = series(version).with_context(|| format!("`{version}` is no version of a kernel"))?;
        self.0.insert(series, measured);
        Ok(())
    }

    /// What is known of the kernel's series.
    pub(super) fn of(&self, version: &str) -> Option<&Measured> {
        self.0.get(&series(version)?)
    }
}

fn is_row(line: &str) -> bool {
    line.starts_with('|')
}

fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split('|').map(str::trim).collect()
}

fn size(cell: &str) -> Option<Size> {
    let (instructions, bytes) = cell.split_once(" / ")?;
    Some(Size { instructions: instructions.parse().ok()?, bytes: bytes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n\
        | program | 6.1 | 6.18 |\n\
        |---|---:|---:|\n\
        | kernel | 6.1.0-56 | 6.18.44 |\n\
        | `zc_exec` | 12 / 34 | 56 / 78 |\n\
        | `zc_fork` | - | 9 / 10 |\n\n\
        After it.\n";

    #[test]
    fn a_table_is_read_and_written_as_it_was() {
        let record = Record::read(TEXT).expect("a table");
        let old = record.of("6.1.170").expect("6.1 is on record");
        assert_eq!(old.programs.get("zc_exec"), Some(&Size { instructions: 12, bytes: 34 }));
        assert_eq!(old.programs.get("zc_fork"), None);
        assert_eq!(record.of("6.12.1"), None);
        assert_eq!(record.written_into(TEXT), TEXT);
    }

    #[test]
    fn a_kernel_takes_the_place_of_an_older_one_of_its_series() {
        let mut record = Record::read(TEXT).expect("a table");
        let programs = Programs::from([("zc_exec".to_owned(), Size { instructions: 1, bytes: 2 })]);
        record.set(Measured { version: "6.18.50".to_owned(), programs }).expect("a version");
        let text = record.written_into(TEXT);
        assert!(
            text.contains("| kernel | 6.1.0-56 | 6.18.50 |\n| `zc_exec` | 12 / 34 | 1 / 2 |\n\nAfter"),
            "{text}"
        );
    }

    #[test]
    fn a_cell_that_is_no_pair_of_numbers_is_an_error() {
        assert!(Record::read(&TEXT.replace("56 / 78", "56")).is_err());
        assert!(Record::read(&TEXT.replace("- | 9", "9")).is_err());
    }

    #[test]
    fn lines_about_programs_are_told_from_others() {
        let size = Size { instructions: 206, bytes: 916 };
        assert_eq!(line("  zc_fork      206    916"), Some(("zc_fork".to_owned(), size)));
        assert_eq!(line("  PROGRAM      INSTRUCTIONS VERIFIED    BYTES OF MACHINE CODE"), None);
        assert_eq!(line("  zc_fork      -    -"), None);
        assert_eq!(line("  kernel     Linux 6.18.44 x86_64"), None);
    }
}
