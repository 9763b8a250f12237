//! Where a report goes.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::Path,
};

use anyhow::Context as _;

use super::args::ColorWhen;
use crate::render::view::is_ascii_locale;

/// Where the report goes; opened before anything is run, so that a wrong name costs nothing.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) writer: Box<dyn Write>,
    pub(super) is_terminal: bool,
}

impl Output {
    /// A file, stdout for `-`, stderr for nothing.
    pub(super) fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match file {
            None => {
                let stderr = io::stderr();
                Self {
                    name: "stderr".to_owned(),
                    is_terminal: stderr.is_terminal(),
                    writer: Box::new(stderr),
                }
            }
            Some(path) if path == Path::new("-") => {
                let stdout = io::stdout();
                Self {
                    name: "stdout".to_owned(),
                    is_terminal: stdout.is_terminal(),
                    writer: Box::new(stdout),
                }
            }
            Some(path) => {
                let name = path.display().to_string();
                let file = File::create(path).with_context(|| {
                    format!("cannot write the report to {name}; choose another file with --output")
                })?;
                Self { name, is_terminal: file.is_terminal(), writer: Box::new(file) }
            }
        })
    }

    /// Writes all of it. That nobody reads any more is no error.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.writer.write_all(bytes).and_then(|()| self.writer.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).with_context(|| format!("cannot write the report to {}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Whether to use colours.
    pub(super) fn color(&self, when: ColorWhen) -> bool {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        when.is_on(self.is_terminal, no_color)
    }

    /// Whether to leave out characters that are not ASCII.
    pub(super) fn ascii() -> bool {
        is_ascii_locale(|name| std::env::var(name).ok())
    }
}
