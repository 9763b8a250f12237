//! Paths and kinds of ends by their names, for serde.

use zc_common::path::Path;

/// The path of a name.
pub(super) fn find_path(name: &str) -> Option<Path> {
    Path::ALL.into_iter().find(|path| path.name() == name)
}

/// `#[serde(with = "names::path")]`.
pub(super) mod path {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use zc_common::path::Path;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(path.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Path, D::Error> {
        let name = String::deserialize(deserializer)?;
        super::find_path(&name).ok_or_else(|| D::Error::custom(format_args!("no such path: {name}")))
    }
}

/// `#[serde(with = "names::kind")]`.
pub(super) mod kind {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use zc_common::path::Kind;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = (0..=u8::MAX).filter_map(Kind::from_u8).find(|kind| kind.name() == name);
        known.ok_or_else(|| D::Error::custom(format_args!("no such kind of end: {name}")))
    }
}
