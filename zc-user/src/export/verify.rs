//! The answer of `zc verify` for programs: JSON (`zc.verify/1`, see `docs/output.md`) and `JUnit` XML.

use std::{collections::BTreeMap, io};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use serde::Serialize;

use crate::{
    model::{
        Report,
        report::{Host, Tool, Window},
        verify::{Answer, Bound, Expectation, Outcome, Selection},
    },
    render::{self, human::printable, verify::Options},
};

/// The form of the answer. It changes when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: &str = "zc.verify/1";

/// An answer with what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    /// What was seen.
    pub report: &'a Report,
    /// What was looked at.
    pub selection: &'a Selection,
    /// What was expected.
    pub expectation: Expectation,
    /// What was found.
    pub answer: &'a Answer,
    /// Whom it is about.
    pub subject: Subject<'a>,
}

/// Whom an answer is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A command and its children.
    Command {
        /// The command line.
        command: &'a [String],
        /// The command's exit code.
        exit_code: u8,
    },
    /// Processes that ran already.
    Processes {
        /// Their ids, as they were given.
        pids: &'a [u32],
    },
}

impl Subject<'_> {
    /// The exit code of a command, 0 of others.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Command { exit_code, .. } => *exit_code,
            Self::Processes { .. } => 0,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: &'a Tool,
    host: &'a Host,
    window: &'a Window,
    command: Option<Command<'a>>,
    pids: &'a [u32],
    expect: &'static str,
    max_copied: Option<Bound>,
    selection: &'a Selection,
    #[serde(flatten)]
    answer: &'a Answer,
    lost: &'a BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Command<'a> {
    cmdline: &'a [String],
    exit_code: u8,
}

impl Verified<'_> {
    /// One indented JSON object and a line end.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        let Self { report, selection, expectation, answer, subject } = *self;
        let (command, pids) = match subject {
            Subject::Command { command, exit_code } => {
                (Some(Command { cmdline: command, exit_code }), &[][..])
            }
            Subject::Processes { pids } => (None, pids),
        };
        let document = Document {
            schema: SCHEMA,
            tool: &report.tool,
            host: &report.host,
            window: &report.window,
            command,
            pids,
            expect: expectation.name(),
            max_copied: match expectation {
                Expectation::ZeroCopy(bound) => Some(bound),
                Expectation::Copied => None,
            },
            selection,
            answer,
            lost: &report.lost,
        };
        let mut json = serde_json::to_vec_pretty(&document)?;
        json.push(b'\n');
        Ok(json)
    }

    /// A suite with one case. What does not hold is a failure, what cannot be decided an error.
    pub fn to_junit(&self) -> io::Result<Vec<u8>> {
        let Self { report, selection, expectation, answer, subject } = *self;
        let seconds = format!("{:.3}", report.window.seconds);
        let failures = if answer.outcome == Outcome::DoesNotHold { "1" } else { "0" };
        let errors = if answer.outcome == Outcome::CannotBeDecided { "1" } else { "0" };
        let counts = [("tests", "1"), ("failures", failures), ("errors", errors), ("time", &seconds)];
        let case = clean(&format!("{}: {selection}", expectation.name()));
        let summary = clean(&answer.summary);
        let details = render::verify::details(answer, subject.exit_code(), Options::default());
        let (start, host) = (format!("{:.0}", report.window.start), clean(&report.host.hostname));
        let mut properties = match subject {
            Subject::Command { command, exit_code } => {
                vec![("command", clean(&command.join(" "))), ("command.exit_code", exit_code.to_string())]
            }
            Subject::Processes { pids } => {
                let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
                vec![("pids", pids.join(" "))]
            }
        };
        properties.extend([
            ("zc.version", report.tool.version.clone()),
            ("kernel", clean(&report.host.kernel)),
            ("answer", answer.outcome.text().to_owned()),
        ]);

        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let root = writer.create_element("testsuites").with_attribute(("name", "zc verify"));
        root.with_attributes(counts).write_inner_content(|writer| {
            let suite = writer
                .create_element("testsuite")
                .with_attribute(("name", "zc verify"))
                .with_attributes(counts)
                .with_attributes([("skipped", "0"), ("timestamp", &start), ("hostname", &host)]);
            suite.write_inner_content(|writer| {
                writer.create_element("properties").write_inner_content(|writer| {
                    for (name, value) in &properties {
                        let property = writer.create_element("property");
                        property.with_attributes([("name", *name), ("value", value)]).write_empty()?;
                    }
                    Ok(())
                })?;
                let case = writer.create_element("testcase").with_attributes([
                    ("classname", "zc.verify"),
                    ("name", &case),
                    ("time", &seconds),
                ]);
                case.write_inner_content(|writer| {
                    let kind = match answer.outcome {
                        Outcome::Holds => "system-out",
                        Outcome::DoesNotHold => "failure",
                        Outcome::CannotBeDecided => "error",
                    };
                    let mut element = writer.create_element(kind);
                    if answer.outcome != Outcome::Holds {
                        element = element.with_attributes([
                            ("type", answer.outcome.text()),
                            ("message", summary.as_str()),
                        ]);
                    }
                    let text: Vec<_> =
                        [&*answer.summary].into_iter().chain(details.lines()).map(clean).collect();
                    element.write_text_content(BytesText::new(&text.join("\n")))?;
                    Ok(())
                })?;
                Ok(())
            })?;
            Ok(())
        })?;
        let mut xml = writer.into_inner();
        xml.push(b'\n');
        Ok(xml)
    }
}

/// XML cannot have control characters at all, nor these two.
fn clean(text: &str) -> String {
    printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests;
