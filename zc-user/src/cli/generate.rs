//! What is generated from the definitions: completion scripts and manual pages.

use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;

/// Writes the completion script of a shell.
pub fn completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "zc", &mut script);
    out.write_all(&script)
}

/// Writes the manual page of zc, or of one of its commands.
pub fn man(command: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let mut zc = Cli::command();
    zc.build();
    let page = match command {
        None => Some(&zc),
        Some(name) => zc.find_subcommand(name),
    };
    let no_such = || io::Error::new(io::ErrorKind::NotFound, "no such command");
    let page = page.ok_or_else(no_such)?.clone();
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    out.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_run_and_verify() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            completions(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("no-count-calls") && script.contains("max-copied"), "{shell}");
        }
    }

    #[test]
    fn manual_pages_exist_for_zc_and_its_commands() {
        for (command, content) in [
            (None, "zc\\-run"),
            (None, "zc\\-verify"),
            (Some("run"), "no\\-count\\-calls"),
            (Some("verify"), "max\\-copied"),
            (Some("check"), "format"),
        ] {
            let mut page = Vec::new();
            man(command, &mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            assert!(page.contains(content), "{page}");
        }
        assert_eq!(man(Some("dance"), &mut Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
