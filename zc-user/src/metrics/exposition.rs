//! What is exposed, whatever the form: families of samples.

use std::borrow::Cow;

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows, but for a new start at 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1: the labels say it.
    Info,
}

impl Kind {
    /// The name that `OpenMetrics` uses; Prometheus's own text knows no `info`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
        }
    }
}

/// Samples that mean the same, of different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name of its samples: that of a counter ends in `_total`, that of an info in `_info`.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The base unit, with which the name ends but for `_total`; `None` of plain numbers.
    pub unit: Option<&'static str>,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, in one sentence.
    pub help: &'static str,
}

impl Family {
    /// The name in `OpenMetrics`, where what tells the kind belongs to the samples alone.
    pub fn base_name(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count, written exactly.
    Integer(u64),
    /// A measured number.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// A number, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Values of the family's labels, in their order.
    pub labels: Vec<Cow<'static, str>>,
    /// How much.
    pub value: Value,
}

/// Families with their samples, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    families: Vec<(&'static Family, Vec<Sample>)>,
}

impl Exposition {
    /// Adds a sample. A family must be added to at one time, and have as many labels as the sample has.
    pub fn add(
        &mut self,
        family: &'static Family,
        labels: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
        value: impl Into<Value>,
    ) {
        let sample = Sample { labels: labels.into_iter().map(Into::into).collect(), value: value.into() };
        debug_assert_eq!(sample.labels.len(), family.labels.len(), "{}", family.name);
        match self.families.last_mut() {
            Some((last, samples)) if last.name == family.name => samples.push(sample),
            _ => self.families.push((family, vec![sample])),
        }
    }

    /// Adds a sample of a family without labels.
    pub fn add_plain(&mut self, family: &'static Family, value: impl Into<Value>) {
        self.add(family, [""; 0], value);
    }

    /// What there is, in order.
    pub fn families(&self) -> impl Iterator<Item = (&'static Family, &[Sample])> {
        self.families.iter().map(|(family, samples)| (*family, samples.as_slice()))
    }

    /// The value of one sample, if it is there.
    pub fn value(&self, name: &str, labels: &[&str]) -> Option<Value> {
        let samples = self.families().find(|(family, _)| family.name == name)?.1;
        Some(samples.iter().find(|sample| sample.labels == labels)?.value)
    }
}
