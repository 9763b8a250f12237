//! How intervals are shown: on a screen, as text, as JSON or as CSV.

use std::io;

use super::{Screen, stdout_is_terminal, write_out};
use crate::{
    cli::{
        args::{TopArgs, TopFormat},
        output::Output,
    },
    render::view::Sort,
    top::{
        export,
        frame::Frame,
        table::{self, By, Style},
    },
};

/// Processes of a table that does not go to a screen, when nobody says how many.
const PROCESSES: usize = 20;

/// Where intervals go, and how.
pub(super) struct View {
    format: TopFormat,
    source: &'static str,
    screen: Option<Screen>,
    limit: Option<usize>,
    sort: Sort,
    /// For any size.
    style: Style,
    is_held: bool,
    is_first: bool,
    /// What is on the screen.
    last: Option<Frame>,
}

impl View {
    /// Opens it; a terminal is taken over from here on.
    pub(super) fn open(args: &TopArgs, source: &'static str) -> io::Result<Self> {
        let is_terminal = stdout_is_terminal();
        let is_screen = is_terminal && !args.plain && args.format == TopFormat::Table;
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            format: args.format,
            source,
            screen: is_screen.then(Screen::enter).transpose()?,
            limit: args.limit,
            sort: args.sort,
            style: Style {
                by: args.by,
                limit: PROCESSES,
                width: table::WIDTH,
                height: None,
                verbose: args.screen.verbose,
                color: args.screen.color.is_on(is_terminal, no_color),
                ascii: Output::ascii(),
            },
            is_held: false,
            is_first: true,
            last: None,
        })
    }

    pub(super) fn is_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// What is shown before there is anything to show.
    pub(super) fn begin(&self) -> io::Result<()> {
        match self.format {
            TopFormat::Csv => write_out(&export::csv_header()?),
            _ if self.is_screen() => Screen::draw("zc top: the first interval has begun; q ends it"),
            _ => Ok(()),
        }
    }

    /// Shows an interval.
    pub(super) fn show(&mut self, mut frame: Frame) -> io::Result<()> {
        frame.sort(self.sort);
        match self.format {
            TopFormat::Json => write_out(&export::json_line(&frame, self.source, self.limit)?),
            TopFormat::Csv => write_out(&export::csv_lines(&frame)?),
            TopFormat::Table if self.is_screen() => {
                // What is held stays there; its interval is not lost, but over when it is let go.
                if !self.is_held {
                    self.last = Some(frame);
                    self.again()?;
                }
                Ok(())
            }
            TopFormat::Table => {
                let text = table::render(&frame, self.source, &self.style(table::WIDTH, None));
                let gap = if std::mem::take(&mut self.is_first) { "" } else { "\n" };
                write_out(format!("{gap}{text}").as_bytes())
            }
        }
    }

    /// Draws the last interval again.
    pub(super) fn again(&mut self) -> io::Result<()> {
        if !self.is_screen() {
            return Ok(());
        }
        let (width, height) = Screen::size();
        let style = self.style(width, Some(height));
        let title = self.title();
        let Some(frame) = &mut self.last else { return self.begin() };
        frame.sort(self.sort);
        Screen::draw(&table::render(frame, &title, &style))
    }

    fn style(&self, width: usize, height: Option<usize>) -> Style {
        let limit = self.limit.unwrap_or(if height.is_some() { usize::MAX } else { PROCESSES });
        Style { limit, width, height, ..self.style }
    }

    fn title(&self) -> String {
        let sort = match self.sort {
            Sort::Bytes => "bytes",
            Sort::Copied => "copied",
            Sort::Calls => "calls",
            Sort::Pid => "pid",
        };
        let held = if self.is_held { "HELD" } else { self.source };
        format!("{held}  s:{sort} b space q")
    }

    /// A key.
    pub(super) async fn key(&self) -> u8 {
        match &self.screen {
            Some(screen) => screen.key().await,
            None => std::future::pending().await,
        }
    }

    /// Does what a key says; whether it is to end.
    pub(super) fn press(&mut self, key: u8) -> io::Result<bool> {
        match key {
            b'q' | b'Q' => return Ok(true),
            b' ' => self.is_held = !self.is_held,
            b's' => {
                self.sort = match self.sort {
                    Sort::Bytes => Sort::Copied,
                    Sort::Copied => Sort::Calls,
                    Sort::Calls => Sort::Pid,
                    Sort::Pid => Sort::Bytes,
                }
            }
            b'b' => {
                self.style.by = match self.style.by {
                    By::Path => By::Process,
                    By::Process => By::Service,
                    By::Service => By::Path,
                }
            }
            _ => return Ok(false),
        }
        self.again()?;
        Ok(false)
    }

    /// Ctrl-Z.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        if self.is_screen() {
            Screen::stop()?;
            self.again()
        } else {
            Ok(nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)?)
        }
    }
}
