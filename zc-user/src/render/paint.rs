//! Colours, or none.

use anstyle::{AnsiColor, Style};

use crate::{
    lab::judge::Agreement,
    model::{report::Verdict, verify::Outcome},
};

/// Puts styles around text, if it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) on: bool,
}

impl Paint {
    pub(crate) fn heading(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn quiet(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(crate) fn alarm(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    pub(crate) fn verdict(self, verdict: Verdict, text: &str) -> String {
        let style = match verdict {
            Verdict::ZeroCopy => AnsiColor::Green.on_default(),
            Verdict::Copied | Verdict::Mixed => AnsiColor::Yellow.on_default(),
            Verdict::Unknown => Style::new().dimmed(),
        };
        self.with(style, text)
    }

    pub(crate) fn answer(self, outcome: Outcome, text: &str) -> String {
        let style = match outcome {
            Outcome::Holds => AnsiColor::Green.on_default(),
            Outcome::DoesNotHold => AnsiColor::Red.on_default(),
            Outcome::CannotBeDecided => AnsiColor::Yellow.on_default(),
        };
        self.with(style.bold(), text)
    }

    pub(crate) fn agreement(self, agreement: Agreement, text: &str) -> String {
        let style = match agreement {
            Agreement::Agrees => AnsiColor::Green.on_default(),
            Agreement::Differs => AnsiColor::Yellow.on_default(),
            Agreement::Unknown => Style::new().dimmed(),
        };
        self.with(style, text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
