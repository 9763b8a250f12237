//! The two text forms: Prometheus's own (0.0.4) and `OpenMetrics` 1.0.
//!
//! They differ in the names of families, in units, in what a `HELP` must escape, and in the end.

use std::fmt::{self, Write as _};

use super::{
    exposition::{Exposition, Family, Kind, Sample, Value},
    negotiate::Form,
};

impl Exposition {
    /// All of it as text.
    pub fn to_text(&self, form: Form) -> String {
        let mut text = String::new();
        let written = self.write(&mut text, form);
        debug_assert!(written.is_ok(), "a string takes everything");
        text
    }

    fn write(&self, out: &mut String, form: Form) -> fmt::Result {
        for (family, samples) in self.families() {
            match form {
                Form::Text => text_header(out, family)?,
                Form::OpenMetrics => open_metrics_header(out, family)?,
            }
            for sample in samples {
                write_sample(out, family, sample)?;
            }
        }
        if form == Form::OpenMetrics {
            out.write_str("# EOF\n")?;
        }
        Ok(())
    }
}

fn text_header(out: &mut String, family: &Family) -> fmt::Result {
    let Family { name, kind, help, .. } = family;
    let kind = if *kind == Kind::Info { Kind::Gauge } else { *kind };
    write!(out, "# HELP {name} ")?;
    escape(out, help, false)?;
    writeln!(out, "\n# TYPE {name} {}", kind.name())
}

fn open_metrics_header(out: &mut String, family: &Family) -> fmt::Result {
    let name = family.base_name();
    writeln!(out, "# TYPE {name} {}", family.kind.name())?;
    if let Some(unit) = family.unit {
        writeln!(out, "# UNIT {name} {unit}")?;
    }
    write!(out, "# HELP {name} ")?;
    escape(out, family.help, true)?;
    out.write_char('\n')
}

fn write_sample(out: &mut String, family: &Family, sample: &Sample) -> fmt::Result {
    out.write_str(family.name)?;
    for (index, (name, value)) in family.labels.iter().zip(&sample.labels).enumerate() {
        write!(out, "{}{name}=\"", if index == 0 { '{' } else { ',' })?;
        escape(out, value, true)?;
        out.write_char('"')?;
    }
    if !family.labels.is_empty() {
        out.write_char('}')?;
    }
    match sample.value {
        Value::Integer(value) => writeln!(out, " {value}"),
        Value::Float(value) => {
            out.write_char(' ')?;
            write_float(out, value)?;
            out.write_char('\n')
        }
    }
}

/// The shortest digits that are read back as the same number.
fn write_float(out: &mut String, value: f64) -> fmt::Result {
    match value {
        f64::INFINITY => out.write_str("+Inf"),
        f64::NEG_INFINITY => out.write_str("-Inf"),
        value if value.is_nan() => out.write_str("NaN"),
        // With an exponent where there would be a row of zeros.
        value => write!(out, "{value:?}"),
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) -> fmt::Result {
    for char in text.chars() {
        match char {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '"' if quotes => out.write_str("\\\"")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}
