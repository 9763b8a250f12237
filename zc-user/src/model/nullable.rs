//! Pairs of counters that are known together or not at all: always an object in JSON, with null members when
//! they are not known, so that a script that asks for a member gets null and no error.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! nullable {
    ($module:ident: $type:ident { $first:ident, $second:ident } $($extra:ident)?) => {
        pub(super) mod $module {
            use super::*;
            use crate::model::report::$type;

            #[derive(Serialize, Deserialize)]
            struct Members {
                $first: Option<u64>,
                $second: Option<u64>,
                $(#[serde(default)] $extra: Option<u64>,)?
            }

            #[expect(clippy::ref_option, reason = "serde calls it so")]
            pub(in super::super) fn serialize<S: Serializer>(
                value: &Option<$type>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                let $first = value.map(|value| value.$first);
                let $second = value.map(|value| value.$second);
                $(let $extra = value.and_then(|value| value.$extra);)?
                Members { $first, $second $(, $extra)? }.serialize(serializer)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$type>, D::Error> {
                let Members { $first, $second $(, $extra)? } = Members::deserialize(deserializer)?;
                Ok($first.zip($second).map(|($first, $second)| $type { $first, $second $(, $extra)? }))
            }
        }
    };
}

nullable!(context_switches: ContextSwitches { voluntary, involuntary });
nullable!(page_faults: PageFaults { minor, major } copy_on_write);
