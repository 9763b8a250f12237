//! `zc daemon`.

use std::io::{self, IsTerminal as _, Write as _};

use tracing::level_filters::LevelFilter;

use super::args::DaemonArgs;
use crate::daemon::{
    config::{self, Config, Level},
    serve::{self, ServeError},
    watch::WatchError,
};

const FAILED: u8 = 1;
/// The configuration is wrong, as the command line could be.
const USAGE: u8 = 2;
/// It cannot be done by this user, or on this machine.
const NOT_SUPPORTED: u8 = 4;

/// Runs the daemon until a signal ends it; returns the exit code.
pub fn daemon(args: &DaemonArgs) -> u8 {
    if args.print_config {
        return match io::stdout().write_all(config::TEMPLATE.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                eprintln!("zc: cannot write: {error}");
                FAILED
            }
            _ => 0,
        };
    }
    let config = match Config::read(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("zc: {error}");
            return USAGE;
        }
    };
    if args.check_config {
        println!("the configuration is valid");
        return 0;
    }
    log_to_stderr(config.log.level);
    match serve::run(config, args.config.clone()) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            exit_code_of(&error)
        }
    }
}

fn exit_code_of(error: &ServeError) -> u8 {
    match error {
        ServeError::Config(_) | ServeError::Select(_) => USAGE,
        ServeError::Watch(WatchError::Session(_)) => NOT_SUPPORTED,
        _ => FAILED,
    }
}

/// The journal has times of its own.
fn log_to_stderr(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    if std::env::var_os("JOURNAL_STREAM").is_some() { log.without_time().init() } else { log.init() }
}
